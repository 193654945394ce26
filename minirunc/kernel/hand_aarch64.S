// The hand for aarch64; hand_x86_64.S explains the batch, the entry and its flags.

.set BUFFER, 0x600000
.set SIZE, 0x20000

.globl _start
_start:
        ldr     w19, [sp]               // argc is the number of the control socket
        mov     x20, #BUFFER
next_batch:
        mov     w0, w19                 // read(control, BUFFER, SIZE)
        mov     x1, x20
        mov     x2, #SIZE
        mov     x8, #63
        svc     #0
        cmp     x0, #0
        b.le    leave                   // our maker is gone
        mov     x21, x0                 // length, for the reply
        mov     x22, x20                // the entry
        mov     x23, #0                 // the last failure's errno
entry:
        ldr     x8, [x22]
        cmn     x8, #1
        b.eq    reply
        ldr     x24, [x22, #56]         // flags
        lsr     x9, x24, #56
        cbz     x9, wanted
        cmp     x9, x23
        b.ne    following
wanted:
        lsr     x9, x24, #8
        mov     x10, #6
        mov     x11, x22
argument:
        add     x11, x11, #8
        tbz     x9, #0, literal
        ldr     x12, [x11]
        ldr     x12, [x12]
        str     x12, [x11]
literal:
        lsr     x9, x9, #1
        subs    x10, x10, #1
        b.ne    argument
        ldp     x0, x1, [x22, #8]
        ldp     x2, x3, [x22, #24]
        ldp     x4, x5, [x22, #40]
        svc     #0
        str     x0, [x22]
        tbnz    x0, #63, failed
        tbz     x24, #1, following
        cbz     x0, next_batch          // the child
        bl      send
leave:
        mov     x0, #255                // exit_group(255)
        mov     x8, #94
        svc     #0
        udf     #0                      // a filter may forbid even that
failed:
        neg     x23, x0
        tbz     x24, #0, reply
following:
        add     x22, x22, #64
        b       entry
reply:
        bl      send
        b       next_batch
send:
        mov     w0, w19                 // write(control, BUFFER, length)
        mov     x1, x20
        mov     x2, x21
        mov     x8, #64
        svc     #0
        ret
