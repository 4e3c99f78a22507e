/* The least that a fresh-connection GET costs: non-blocking sockets, one epoll, six system calls a probe; with TLS when
   a CA file is given, full verification, no resumption. floor PORT COUNT AT_ONCE RATE [CA_FILE NAME]
   RATE 0 is saturated; else one at a time, so many a second. Prints CPU milliseconds a probe and the answers with 200. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct probe { int fd, sent, got; SSL *ssl; char head[64]; };
static struct sockaddr_in peer;
static SSL_CTX *tls;
static const char *name;
static int epoll, good;
static const char get[] = "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: floor\r\nAccept: */*\r\nConnection: close\r\n\r\n";

static void start(struct probe *p) {
  p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  p->sent = p->got = 0;
  connect(p->fd, (struct sockaddr *)&peer, sizeof peer);
  if (tls) {
    p->ssl = SSL_new(tls);
    SSL_set_fd(p->ssl, p->fd);
    SSL_set_tlsext_host_name(p->ssl, name);
    SSL_set1_host(p->ssl, name);
    SSL_set_connect_state(p->ssl);
  }
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p};
  epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &e);
}

/* 1 when the answer is whole. */
static int step(struct probe *p) {
  char buffer[65536];
  if (!p->sent) {
    long n = tls ? SSL_write(p->ssl, get, sizeof get - 1) : send(p->fd, get, sizeof get - 1, MSG_NOSIGNAL);
    if (n <= 0) {
      if (tls) { int e = SSL_get_error(p->ssl, n); return e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE; }
      return errno != EAGAIN && errno != ENOTCONN;
    }
    p->sent = 1;
  }
  for (;;) {
    long n = tls ? SSL_read(p->ssl, buffer, sizeof buffer) : recv(p->fd, buffer, sizeof buffer, 0);
    if (n > 0) {
      int room = sizeof p->head - p->got;
      if (room > 0) { memcpy(p->head + p->got, buffer, n < room ? n : room); }
      p->got += n;
      continue;
    }
    if (tls) { int e = SSL_get_error(p->ssl, n); return e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE; }
    return n == 0 || errno != EAGAIN;
  }
}

static void end(struct probe *p) {
  good += p->got > 12 && !memcmp(p->head, "HTTP/1.1 200", 12);
  if (tls) { SSL_free(p->ssl); }
  close(p->fd);
}

static double cpu_ms(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

int main(int argc, char **argv) {
  int count = atoi(argv[2]), at_once = atoi(argv[3]), started = 0, ended = 0;
  double rate = atof(argv[4]);
  peer.sin_family = AF_INET;
  peer.sin_port = htons(atoi(argv[1]));
  inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);
  if (argc > 5) {
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_locations(tls, argv[5], NULL);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    name = argv[6];
  }
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct probe *probes = calloc(at_once, sizeof *probes);
  struct timespec begun, now;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  double before = cpu_ms();
  if (rate == 0) { for (; started < at_once && started < count; started++) start(&probes[started]); }
  while (ended < count) {
    if (rate > 0 && started == ended) {
      double at = started / rate;
      clock_gettime(CLOCK_MONOTONIC, &now);
      double wait = at - (now.tv_sec - begun.tv_sec) - (now.tv_nsec - begun.tv_nsec) / 1e9;
      if (wait > 0) { struct timespec t = {(time_t)wait, (long)((wait - (time_t)wait) * 1e9)}; nanosleep(&t, NULL); }
      start(&probes[0]);
      started++;
    }
    struct epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < n; i++) {
      struct probe *p = events[i].data.ptr;
      if (!step(p)) continue;
      end(p);
      ended++;
      if (rate == 0 && started < count) { start(p); started++; }
    }
  }
  printf("%.6f %d\n", (cpu_ms() - before) / count, good);
  return 0;
}
