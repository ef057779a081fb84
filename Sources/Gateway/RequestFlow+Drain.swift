// Stopping without losing anything: no new connections, every response says that its connection closes, idle ones are
// given a moment in which a request that is already on its way can still arrive.

import Core

/// How far a loop's drain has come.
struct DrainState {
  /// How long idle connections are still served after listening has ended, in nanoseconds: requests that clients sent
  /// before they could know are answered, and the answer tells them to go.
  static let grace: Int64 = 500_000_000
  /// How often a draining loop looks whether it is done.
  private static let pace: Int64 = 20_000_000

  private(set) var isDraining = false
  var isOver = false
  private(set) var idleEndsAt = Instant.never
  private(set) var endsAt = Instant.never
  /// When the last WebSocket connection is told to go.
  private(set) var tunnelsEndAt = Instant.never
  private(set) var nextStep = Instant.never

  mutating func begin(now: Instant, length: Int64) {
    isDraining = true
    endsAt = now.advanced(byNanoseconds: length)
    tunnelsEndAt = now.advanced(byNanoseconds: length / 4 * 3)
    idleEndsAt = min(now.advanced(byNanoseconds: min(Self.grace, length / 2)), endsAt)
    nextStep = now
  }

  /// How many of `count` connections are told to go in this step: by and by, so that they do not all come back at once.
  func share(of count: Int, now: Instant) -> Int {
    let steps = max(1, Int(tunnelsEndAt.nanoseconds(since: now) / Self.pace))
    return (count + steps - 1) / steps
  }

  mutating func step(now: Instant) { nextStep = min(now.advanced(byNanoseconds: Self.pace), endsAt) }
}

extension RequestFlow {
  /// Stops accepting and begins to wind down; the loop ends when nothing is left or `nanoseconds` have passed.
  mutating func beginDrain(nanoseconds: Int64) {
    guard !drain.isDraining else { return }
    for index in listeners.indices { closeListener(index) }
    drain.begin(now: loop.now, length: nanoseconds)
    drainCarriers(atOnce: false)
  }

  /// Looks how far the drain has come.
  mutating func advanceDrain() {
    let now = loop.now
    guard now >= drain.nextStep else { return }
    if now >= drain.endsAt {
      endEverything()
    } else if now >= drain.idleEndsAt {
      drainCarriers(atOnce: true)
      while case let index = longestIdle(), index >= 0 { closeIdle(index) }
      if openTunnels > 0 { endSomeTunnels() }
    }
    drain.step(now: now)
    guard clients.count == 0 || now >= drain.endsAt else { return }
    for index in servers.touchedIndexes where servers[index].state != .free { close(server: index, reset: false) }
    log?.flushAll()
    drain.isOver = true
  }

  /// Ends a connection between requests. One that has sent something in the meantime is answered first.
  private mutating func closeIdle(_ index: Int32) {
    if clients[index].state == .carrier { return endCarrying(index) }
    let generation = clients[index].generation
    clients[index].inputWaits = true
    pump(client: index)
    guard clients[index].generation == generation, clients[index].state == .idle else { return }
    close(client: index, reset: false)
  }

  private mutating func endEverything() {
    for index in clients.touchedIndexes where clients[index].state != .free {
      let exchange = clients[index].exchange
      if exchange >= 0, clients[index].state == .tunnel {
        closeTunnel(exchange, reset: false)
      } else if exchange >= 0, clients[index].state == .exchange {
        breakOff(exchange, .drainEnded)
      } else {
        close(client: index, reset: false)
      }
    }
  }
}
