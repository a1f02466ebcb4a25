        .section .rodata
        .global cofferdam_worker_image_begin
        .global cofferdam_worker_image_end
        .balign 16
cofferdam_worker_image_begin:
        .incbin WORKER_IMAGE_PATH
cofferdam_worker_image_end:
        .section .note.GNU-stack,"",%progbits
