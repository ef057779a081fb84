import Core
import HTTP

/// One connection to the admin port: what has arrived, what must still go out, and how far the request is.
final class AdminConnection {
  enum Phase {
    /// Between requests.
    case idle
    /// A head has begun to arrive.
    case head
    /// The head is complete and allowed; its body is arriving.
    case body(AdminRoute, AdminRequest, BodyFraming)
    /// The answer is being found out elsewhere.
    case waiting(serial: UInt64, AdminRequest, withBody: Bool)
    /// A response is going out.
    case sending
    /// The last response is out; what still comes is thrown away, so that the client gets to read the response.
    case lingering
  }

  let socket: Socket
  let input = ByteBuffer()
  let output = ByteBuffer()
  var phase = Phase.idle
  var deadline: Instant
  /// Nothing waits in the kernel: an edge will tell.
  var isDrained = false
  var peerEnded = false
  /// Bytes of an incomplete head that have been looked at.
  var scanned = 0
  var body: [UInt8] = []
  var chunks = ChunkedDecoder()
  var closesAfterResponse = false
  /// Bytes thrown away while lingering.
  var discarded = 0

  init(_ socket: Socket, deadline: Instant) {
    self.socket = socket
    self.deadline = deadline
  }

  /// What became of collecting a body.
  enum Collection {
    case complete, incomplete, tooLarge
    case malformed(HTTPFault)
  }

  /// Moves what has arrived of a body from the input to ``body``, at most `limit` bytes.
  func collect(_ framing: BodyFraming, limit: Int) -> Collection {
    switch framing {
    case .none, .untilClose: return .complete
    case .length(let total):
      if total > Int64(limit) { return .tooLarge }
      take(min(Int(total) - body.count, input.count))
      return body.count == Int(total) ? .complete : .incomplete
    case .chunked: return collectChunks(limit: limit)
    }
  }

  private func collectChunks(limit: Int) -> Collection {
    let input = input
    while true {
      switch chunks.next(input.bytes) {
      case .data(let skip, let count):
        input.consume(skip)
        if body.count + count > limit { return .tooLarge }
        take(count)
      case .trailer(name: _, value: _, isForbidden: _, consumed: let consumed): input.consume(consumed)
      case .incomplete(let consumed):
        input.consume(consumed)
        return .incomplete
      case .end(let consumed):
        input.consume(consumed)
        return .complete
      case .malformed(let fault): return .malformed(fault)
      }
    }
  }

  private func take(_ count: Int) {
    guard count > 0 else { return }
    let input = input
    let part = input.bytes.extracting(0..<count)
    unsafe part.withUnsafeBytes { unsafe body.append(contentsOf: $0) }
    input.consume(count)
  }
}
