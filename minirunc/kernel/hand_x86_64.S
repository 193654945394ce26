# The hand for x86_64: a program that executes the system calls it is sent. hand_code.py holds its bytes; a test compares.
#
# A batch is one message on the control socket, at most SIZE bytes, read to BUFFER:
#
#   entry 0 | entry 1 | ... | -1 | data: strings, structures, room for results
#
# An entry is eight words: number (its result is put here), six arguments, flags:
#   bit 0      tolerate: a failure does not end the batch
#   bit 1      forks: the parent replies with the child's pid and exits; the child reads the next batch
#   bits 8-13  argument 1-6 is the address of a word: take the word's value (an earlier entry's result)
#   bits 56-63 only if the last failure was this errno, else the entry is passed over
# The whole batch is sent back, results in place, when it is done or an entry failed that is not tolerated.

.set BUFFER, 0x600000
.set SIZE, 0x20000

.globl _start
_start:
        mov     (%rsp), %r12d           # argc is the number of the control socket
next_batch:
        xor     %eax, %eax              # read(control, BUFFER, SIZE)
        mov     %r12d, %edi
        mov     $BUFFER, %esi
        mov     $SIZE, %edx
        syscall
        test    %rax, %rax
        jle     leave                   # our maker is gone
        mov     %rax, %r13              # length, for the reply
        mov     $BUFFER, %ebx           # the entry
        xor     %r14d, %r14d            # the last failure's errno
entry:
        cmpq    $-1, (%rbx)
        je      reply
        mov     56(%rbx), %r15          # flags
        mov     %r15, %rax
        shr     $56, %rax
        jz      wanted
        cmp     %rax, %r14
        jne     following
wanted:
        mov     %r15, %rax
        shr     $8, %eax
        mov     $6, %ecx
        mov     %rbx, %rsi
argument:
        add     $8, %rsi
        shr     $1, %eax
        jnc     literal
        mov     (%rsi), %rdi
        mov     (%rdi), %rdi
        mov     %rdi, (%rsi)
literal:
        dec     %ecx
        jnz     argument
        mov     (%rbx), %rax
        mov     8(%rbx), %rdi
        mov     16(%rbx), %rsi
        mov     24(%rbx), %rdx
        mov     32(%rbx), %r10
        mov     40(%rbx), %r8
        mov     48(%rbx), %r9
        syscall
        mov     %rax, (%rbx)
        test    %rax, %rax
        js      failed
        test    $2, %r15b
        jz      following
        test    %rax, %rax
        jz      next_batch              # the child
        call    send
leave:
        mov     $231, %eax              # exit_group(255)
        mov     $255, %edi
        syscall
        ud2                             # a filter may forbid even that
failed:
        neg     %rax
        mov     %rax, %r14
        test    $1, %r15b
        jz      reply
following:
        add     $64, %rbx
        jmp     entry
reply:
        call    send
        jmp     next_batch
send:
        mov     $1, %eax                # write(control, BUFFER, length)
        mov     %r12d, %edi
        mov     $BUFFER, %esi
        mov     %r13, %rdx
        syscall
        ret
