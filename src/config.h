/* Included first by every C file: which extensions this code may use, and what it exports. */
#ifndef KX_CONFIG_H
#define KX_CONFIG_H

#if defined(__linux__)
#define _GNU_SOURCE /* O_CLOEXEC, st_mtim, dladdr, RTLD_NODELETE, accept4's family */
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _POSIX_C_SOURCE 200809L
#define _XOPEN_SOURCE 700
#endif
#define _FILE_OFFSET_BITS 64

/* Everything is hidden but luaopen_kontext_core: built with -fvisibility=hidden. */
#if defined(__GNUC__)
#define KX_EXPORT __attribute__((visibility("default")))
#else
#define KX_EXPORT
#endif

/* The poller's backend: epoll where there is epoll, unless the build asks for poll(2). */
#if defined(__linux__) && !defined(KX_PORTABLE)
#define KX_EPOLL 1
#else
#define KX_EPOLL 0
#endif

#endif
