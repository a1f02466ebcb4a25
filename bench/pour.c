/* Writes 1 GiB of zeroes in pieces of 64 KiB. */
#include "payload.h"

static const char zeroes[64 * 1024];

void _start(void) {
  long left = 1L << 30;
  while (left > 0) {
    const long piece = left < (long)sizeof(zeroes) ? left : (long)sizeof(zeroes);
    const long written = system_call(kWrite, 1, (long)zeroes, piece);
    if (written <= 0) end_program(1);
    left -= written;
  }
  end_program(0);
}
