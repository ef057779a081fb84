import Core

/// Whoever holds an end of a connection.
protocol StreamOwner: AnyObject {
  /// Something has happened that epoll would report as an edge.
  func changed(_ stream: Stream)
}

/// One end of a simulated connection, as its kernel sees it.
final class Stream {
  enum Phase: Equatable {
    case connecting
    case open
    /// The attempt failed, or the peer has reset the connection. `isReported` once an operation returned the error.
    case broken(NetworkError, isReported: Bool)
  }

  let number: Int
  let local: SocketAddress
  let peer: SocketAddress
  /// The address that was connected to: it names the link.
  let link: SocketAddress
  var far: Stream?
  var phase: Phase
  /// Nobody while the connection waits to be accepted.
  weak var owner: (any StreamOwner)?

  /// What has arrived and was not received.
  let inbox = ByteBuffer()
  /// What was sent and has not arrived.
  var inFlightCount = 0
  /// Nothing that is sent arrives before what was sent before it.
  var latestArrival = Instant(nanoseconds: 0)
  var hasSentEnd = false
  var hasReceivedEnd = false
  var isClosed = false
  /// A send took less than it was offered: the owner is told when there is room.
  var wantsRoom = false
  /// Counts the times that in-flight data was thrown away; segments of an earlier count are lost.
  var epoch = 0

  init(number: Int, local: SocketAddress, peer: SocketAddress, link: SocketAddress, phase: Phase) {
    self.number = number
    self.local = local
    self.peer = peer
    self.link = link
    self.phase = phase
  }

  /// The bits that epoll would report.
  var readiness: Readiness {
    var readiness: Readiness = []
    switch phase {
    case .connecting: return []
    case .open:
      if !inbox.isEmpty || hasReceivedEnd { readiness.insert(.readable) }
      if !wantsRoom { readiness.insert(.writable) }
      if hasReceivedEnd { readiness.insert(.peerEnded) }
      if hasReceivedEnd && hasSentEnd { readiness.insert(.broken) }
    case .broken: readiness = [.readable, .writable, .peerEnded, .broken]
    }
    return readiness
  }

  /// The error that the next operation must return, once.
  func takeError() -> NetworkError? {
    guard case .broken(let error, false) = phase else { return nil }
    phase = .broken(error, isReported: true)
    return error
  }
}

/// A socket that waits for connections.
final class Listener {
  let address: SocketAddress
  let options: ListenOptions
  /// Established, not yet accepted.
  var queue: [Stream] = []
  /// Called when a connection was added to the queue.
  var changed: () -> Void

  init(_ address: SocketAddress, _ options: ListenOptions, changed: @escaping () -> Void) {
    self.address = address
    self.options = options
    self.changed = changed
  }
}
