"""process.consoleSize: the terminal's size in characters, set before the process starts."""

from minirunc.base.record import Record, UInt16


class ConsoleSize(Record):
    height: UInt16  # the schema allows uint64, the kernel's struct winsize 16 bits
    width: UInt16
