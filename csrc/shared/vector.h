// MFLAG_VECTORISED: a function, or a template, that is compiled once for each instruction set; the
// loader picks. MFLAG_INLINED: what such a function calls must become part of it.
#pragma once
#include <cstdint>  // with it comes __GLIBC__: its loader is the one that picks

#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define MFLAG_VECTORISED \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MFLAG_VECTORISED
#endif
#define MFLAG_INLINED __attribute__((always_inline)) inline
