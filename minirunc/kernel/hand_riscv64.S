# The hand for riscv64; hand_x86_64.S explains the batch, the entry and its flags.

.option norvc
.set BUFFER, 0x600000
.set SIZE, 0x20000

.globl _start
_start:
        lw      s0, 0(sp)               # argc is the number of the control socket
        li      s1, BUFFER
next_batch:
        mv      a0, s0                  # read(control, BUFFER, SIZE)
        mv      a1, s1
        li      a2, SIZE
        li      a7, 63
        ecall
        blez    a0, leave               # our maker is gone
        mv      s2, a0                  # length, for the reply
        mv      s3, s1                  # the entry
        li      s4, 0                   # the last failure's errno
        li      s6, -1
entry:
        ld      a7, 0(s3)
        beq     a7, s6, reply
        ld      s5, 56(s3)              # flags
        srli    t0, s5, 56
        beqz    t0, wanted
        bne     t0, s4, following
wanted:
        srli    t0, s5, 8
        li      t1, 6
        mv      t2, s3
argument:
        addi    t2, t2, 8
        andi    t3, t0, 1
        beqz    t3, literal
        ld      t4, 0(t2)
        ld      t4, 0(t4)
        sd      t4, 0(t2)
literal:
        srli    t0, t0, 1
        addi    t1, t1, -1
        bnez    t1, argument
        ld      a0, 8(s3)
        ld      a1, 16(s3)
        ld      a2, 24(s3)
        ld      a3, 32(s3)
        ld      a4, 40(s3)
        ld      a5, 48(s3)
        ecall
        sd      a0, 0(s3)
        bltz    a0, failed
        andi    t0, s5, 2
        beqz    t0, following
        beqz    a0, next_batch          # the child
        jal     ra, send
leave:
        li      a0, 255                 # exit_group(255)
        li      a7, 94
        ecall
        unimp                           # a filter may forbid even that
failed:
        neg     s4, a0
        andi    t0, s5, 1
        beqz    t0, reply
following:
        addi    s3, s3, 64
        j       entry
reply:
        jal     ra, send
        j       next_batch
send:
        mv      a0, s0                  # write(control, BUFFER, length)
        mv      a1, s1
        mv      a2, s2
        li      a7, 64
        ecall
        ret
