// What a proxy cannot do without, and nothing else: two receives and two sends a request over TCP sockets. Bytes of a client
// go to an upstream connection of its own and back, unread and unchanged, from an edge-triggered epoll loop that registers
// every socket once. Whatever parses, decides or pools costs more: this is the measure of what the kernel takes.
//
// floor PORT UPSTREAM-PORT, both on loopback.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS 65536

static int other_end[DESCRIPTORS];
static char bytes[65536];

static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void pair(int epoll, int client, const struct sockaddr_in *upstream) {
  int server = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  if (server < 0 || server >= DESCRIPTORS || connect(server, (const void *)upstream, sizeof *upstream)) exit(1);
  other_end[client] = server;
  other_end[server] = client;
  int ends[2] = {client, server};
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = ends[i]};
    setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i], &event);
  }
}

static void pass(int from) {
  ssize_t count = recv(from, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count > 0) {
    send(other_end[from], bytes, count, MSG_NOSIGNAL);
  } else if (count == 0) {
    close(other_end[from]);
    close(from);
  }
}

int main(int count, char **arguments) {
  if (count != 3) return 2;
  struct sockaddr_in own = loopback(arguments[1]), upstream = loopback(arguments[2]);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
  if (bind(listener, (void *)&own, sizeof own) || listen(listener, 4096)) return 1;
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      int client = events[i].data.fd;
      if (client != listener) {
        if (events[i].events & EPOLLIN) pass(client);
        continue;
      }
      while ((client = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0 && client < DESCRIPTORS) pair(epoll, client, &upstream);
    }
  }
}
