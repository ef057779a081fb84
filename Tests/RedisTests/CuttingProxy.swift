import Core

/// Stands between a node and its Redis, on the same loop, and breaks the connection in the middle of a reply.
final class CuttingProxy {
  private struct Pair {
    var near: Socket
    var far: Socket
    let toNear = ByteBuffer()
    let toFar = ByteBuffer()
    var isOpen = true
  }

  static let token: UInt64 = 255 << 56
  let address: SocketAddress
  private let world: any World
  private let target: SocketAddress
  private let listener: Socket
  private var pairs: [Pair] = []
  /// Bytes of replies that still pass; then all connections are closed. Nil: all pass.
  var bytesLeft: Int?
  /// How often that happened.
  private(set) var cuts = 0

  init(_ world: any World, at path: String, to target: SocketAddress) throws {
    self.world = world
    self.target = target
    address = .unix(path: path)
    listener = try world.listen(address, ListenOptions(), token: Self.token)
  }

  deinit {
    for index in pairs.indices { close(index) }
    world.close(listener, reset: true)
  }

  /// An event; false where it is none of this proxy's.
  func ready(token: UInt64) -> Bool {
    guard token >> 56 == 255 else { return false }
    if token == Self.token {
      while case .accepted(let near, _) = world.accept(listener) { take(near) }
    } else {
      move(Int(token & 0xffff_ffff) / 2)
    }
    return true
  }

  private func take(_ near: Socket) {
    let number = UInt64(pairs.count) * 2
    guard let far = try? world.connect(to: target, token: Self.token | 1 << 40 | number + 1),
      (try? world.register(near, token: Self.token | 1 << 40 | number)) != nil
    else { return world.close(near, reset: true) }
    pairs.append(Pair(near: near, far: far))
    move(pairs.count - 1)
  }

  private func move(_ index: Int) {
    guard pairs[index].isOpen else { return }
    let pair = pairs[index]
    guard fill(pair.toFar, from: pair.near), fill(pair.toNear, from: pair.far) else { return close(index) }
    drain(pair.toFar, to: pair.far, count: pair.toFar.count)
    let count = min(pair.toNear.count, bytesLeft ?? .max)
    drain(pair.toNear, to: pair.near, count: count)
    guard let left = bytesLeft else { return }
    bytesLeft = left - count
    if left == count {
      bytesLeft = nil
      cuts += 1
      for other in pairs.indices { close(other) }
    }
  }

  /// Takes in what there is; false at the end of the stream.
  private func fill(_ buffer: ByteBuffer, from socket: Socket) -> Bool {
    while true {
      switch world.receive(socket, into: buffer, limit: 1 << 16) {
      case .count: continue
      case .wouldBlock: return true
      case .ended, .failed: return false
      }
    }
  }

  private func drain(_ buffer: ByteBuffer, to socket: Socket, count: Int) {
    guard count > 0, case .count(let sent) = world.send(socket, buffer.bytes.extracting(0..<count)) else { return }
    buffer.consume(sent)
  }

  private func close(_ index: Int) {
    guard pairs[index].isOpen else { return }
    pairs[index].isOpen = false
    world.close(pairs[index].near, reset: true)
    world.close(pairs[index].far, reset: true)
  }
}
