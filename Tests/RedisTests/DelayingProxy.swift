import Core
import Foundation
import Net
import Synchronization

/// Stands between a replica and its primary, on a thread of its own: what the primary sends arrives later, and never does
/// once the primary is gone.
final class DelayingProxy: Sendable {
  let port: UInt16
  private let isStopped = Atomic<Bool>(false)

  /// Listens on a port of its own for connections to `port`.
  init(to port: UInt16, milliseconds: Int64) throws {
    self.port = try RealRedis.freePort()
    let relay = try Relay(from: self.port, to: port, delay: milliseconds * 1_000_000)
    let holder = Holder(relay)
    Thread.detachNewThread { [self] in
      holder.relay.isStopped = { self.isStopped.load(ordering: .relaxed) }
      var relay = holder.relay
      try? relay.loop.run(&relay)
    }
  }

  func stop() { isStopped.store(true, ordering: .relaxed) }

  /// Handed over once, to the thread that uses it.
  private final class Holder: @unchecked Sendable {
    let relay: Relay
    init(_ relay: Relay) { self.relay = relay }
  }
}

/// The proxy's loop.
private final class Relay: EventHandler {
  private struct Pair {
    let near: Socket
    let far: Socket
    /// What came from the primary, and when it may go on.
    var waiting: [(bytes: ByteBuffer, due: Instant)] = []
    let toFar = ByteBuffer()
    var isOpen = true
  }

  private static let token: UInt64 = 1 << 32

  let loop: EventLoop
  var isStopped: () -> Bool = { false }
  private let listener: Socket
  private let target: SocketAddress
  private let delay: Int64
  private var pairs: [Pair] = []

  init(from port: UInt16, to target: UInt16, delay: Int64) throws {
    loop = try EventLoop()
    self.target = .ip(IPAddress(v4: 0x7f00_0001), port: target)
    self.delay = delay
    listener = try loop.listen(
      .ip(IPAddress(v4: 0x7f00_0001), port: port), ListenOptions(sharesPort: false), token: Self.token)
  }

  var isRunning: Bool { !isStopped() }
  func receive(_ message: Never) {}

  func ready(token: UInt64, _ readiness: Readiness) {
    if token == Self.token {
      while case .accepted(let near, _) = loop.accept(listener) { take(near) }
    } else {
      move(Int(token) / 2)
    }
  }

  private func take(_ near: Socket) {
    let number = UInt64(pairs.count) * 2
    guard let far = try? loop.connect(to: target, token: number + 1),
      (try? loop.register(near, token: number)) != nil
    else { return loop.close(near, reset: true) }
    pairs.append(Pair(near: near, far: far))
  }

  private func move(_ index: Int) {
    guard pairs[index].isOpen else { return }
    let bytes = ByteBuffer()
    guard fill(pairs[index].toFar, pairs[index].near), fill(bytes, pairs[index].far) else { return close(index) }
    if !bytes.isEmpty { pairs[index].waiting.append((bytes, loop.now.advanced(byNanoseconds: delay))) }
    drain(pairs[index].toFar, pairs[index].far)
  }

  func endTurn() -> Instant {
    for index in pairs.indices where pairs[index].isOpen {
      drain(pairs[index].toFar, pairs[index].far)
      while let first = pairs[index].waiting.first, first.due <= loop.now {
        drain(first.bytes, pairs[index].near)
        guard first.bytes.isEmpty else { break }
        pairs[index].waiting.removeFirst()
      }
    }
    return loop.now.advanced(byNanoseconds: 5_000_000)
  }

  /// Takes in what there is; false at the end of the stream.
  private func fill(_ buffer: ByteBuffer, _ socket: Socket) -> Bool {
    while true {
      switch loop.receive(socket, into: buffer, limit: 1 << 16) {
      case .count: continue
      case .wouldBlock: return true
      case .ended, .failed: return false
      }
    }
  }

  private func drain(_ buffer: ByteBuffer, _ socket: Socket) {
    while !buffer.isEmpty, case .count(let sent) = loop.send(socket, buffer.bytes) { buffer.consume(sent) }
  }

  private func close(_ index: Int) {
    pairs[index].isOpen = false
    pairs[index].waiting = []
    loop.close(pairs[index].near, reset: true)
    loop.close(pairs[index].far, reset: true)
  }
}
