import Core
import HTTP

/// One connection of the load generator; plain data in the flow's slab.
struct BenchSlot: BitwiseCopyable {
  /// What the connection does.
  enum Phase: UInt8, BitwiseCopyable {
    /// There is no socket. Where `retryAt` is set one will be opened then.
    case closed
    /// The socket is being connected.
    case connecting
    /// Connected, with nothing under way.
    case idle
    /// Requests were sent; the next byte belongs to a response head.
    case head
    /// In a body of known length, in chunks, or of a body that ends with the connection.
    case length, chunks, untilClose
    /// The response is complete, and its stream about to end.
    case ending
  }

  var phase = Phase.closed
  /// Whether the response in progress lets the connection go on.
  var keepsAlive = true
  /// Whether a connection was open here before.
  var wasOpen = false
  /// Whether the peer has ended its stream, although we may not have read that far.
  var peerEnded = false
  /// Which of the plan's places it leads to.
  var place: Int32 = 0
  var socket = Socket.none
  /// Counts the sockets of this slot, so that late events of an old one are told apart.
  var generation: UInt32 = 0
  /// Responses that are still to come.
  var outstanding: Int32 = 0
  /// The number of the first request under way, among those of the thread.
  var sequence: UInt64 = 0
  var status: Int32 = 0
  /// Body bytes still to come.
  var bodyLeft: Int64 = 0
  var chunks = ChunkedDecoder()
  /// When the requests under way began, or should have begun.
  var startedAt = Instant(nanoseconds: 0)
  /// When they are given up, or a connection attempt is.
  var deadline = Instant.never
  /// When the connection attempt began.
  var connectedAt = Instant(nanoseconds: 0)
  /// Since when the connection is free.
  var idleSince = Instant(nanoseconds: 0)
  /// When to try again to connect.
  var retryAt = Instant.never
}

/// The slots that are free, in the order in which they became so. Bounded by the number of slots.
///
/// Free connections are used in turn, not the last one first: a server that spreads connections over its threads is
/// then loaded on all of them at any rate.
struct BenchIdleQueue {
  private var ring: ContiguousArray<Int32>
  private var head = 0
  private(set) var count = 0

  init(capacity: Int) { ring = ContiguousArray(repeating: -1, count: max(1, capacity)) }

  @inline(__always)
  mutating func push(_ slot: Int) {
    precondition(count < ring.count)
    var tail = head &+ count
    if tail >= ring.count { tail &-= ring.count }
    ring[tail] = Int32(truncatingIfNeeded: slot)
    count &+= 1
  }

  @inline(__always)
  mutating func pop() -> Int? {
    if count == 0 { return nil }
    let slot = Int(ring[head])
    head &+= 1
    if head == ring.count { head = 0 }
    count &-= 1
    return slot
  }

  /// Takes a slot out wherever it stands; linear.
  mutating func remove(_ slot: Int) {
    for _ in 0..<count {
      guard let first = pop() else { return }
      if first != slot { push(first) }
    }
  }
}
