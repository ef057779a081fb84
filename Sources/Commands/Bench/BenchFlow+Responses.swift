import Core
import HTTP

// Reading responses.
extension BenchFlow {
  /// Takes what a socket has, until it is drained or others should have their turn.
  mutating func receiveAll(_ index: Int) {
    let generation = slots[index].generation
    for _ in 0..<Self.receivesPerTurn {
      let kept = leftovers[index]
      let isKept = kept.map { !$0.isEmpty } ?? false
      let buffer = isKept ? kept! : input
      switch world.receive(slots[index].socket, into: buffer, limit: Self.receiveLimit) {
      case .count(let count):
        if slots[index].startedAt >= measureStart { tally.receivedBytes &+= UInt64(count) }
        read(index, buffer)
        guard slots[index].generation == generation else {
          input.removeAll()
          return
        }
        if !isKept && !input.isEmpty { keepInput(index) }
        // The end of a stream makes no second edge: behind it one must look until it shows.
        if count < Self.receiveLimit && !slots[index].peerEnded && slots[index].phase != .ending { return }
      case .wouldBlock: return
      case .ended:
        ended(index)
        return
      case .failed:
        fail(index, world.failure(of: slots[index].socket))
        return
      }
    }
    again.append(Int32(truncatingIfNeeded: index))
  }

  /// Goes on with connections that were interrupted for the sake of others.
  mutating func resumeReceiving() {
    if again.isEmpty { return }
    let waiting = again
    again.removeAll(keepingCapacity: true)
    for index in waiting where slots[Int(index)].phase != .closed && slots[Int(index)].phase != .connecting {
      receiveAll(Int(index))
    }
  }

  private mutating func keepInput(_ index: Int) {
    let buffer = leftovers[index] ?? ByteBuffer(capacity: input.count)
    buffer.append(input.bytes)
    leftovers[index] = buffer
    input.removeAll()
  }

  /// The peer has ended the connection.
  private mutating func ended(_ index: Int) {
    switch slots[index].phase {
    case .untilClose:
      slots[index].keepsAlive = false
      complete(index)
    case .idle, .ending: retire(index, reset: false)
    default: fail(index, .broken)
    }
  }

  /// Reads as much of `buffer` as makes sense.
  private mutating func read(_ index: Int, _ buffer: ByteBuffer) {
    let generation = slots[index].generation
    while !buffer.isEmpty && slots[index].generation == generation {
      switch slots[index].phase {
      case .head: if !readHead(index, buffer) { return }
      case .length:
        let count = Int(min(slots[index].bodyLeft, Int64(buffer.count)))
        buffer.consume(count)
        slots[index].bodyLeft -= Int64(count)
        if slots[index].bodyLeft == 0 { complete(index) }
      case .chunks: if !readChunks(index, buffer) { return }
      case .untilClose: buffer.removeAll()
      case .idle, .closed, .connecting, .ending:
        // Bytes that nobody asked for: the stream is out of step, and every later answer would be the wrong one.
        if stage == .running && world.now >= measureStart { tally.fail(.malformed) }
        retire(index, reset: true)
        return
      }
    }
  }

  /// False where bytes are missing or the connection is given up.
  @inline(__always)
  private mutating func readHead(_ index: Int, _ buffer: ByteBuffer) -> Bool {
    let known = memory.match(buffer.bytes)
    if known > 0 {
      buffer.consume(known)
      return beginBody(index, memory.status, memory.framing, memory.keepsAlive)
    }
    switch head.parse(buffer, limits: headLimits) {
    case .incomplete: return false
    case .refused:
      fail(index, .malformed)
      return false
    case .complete(let count):
      if head.isInformational {
        buffer.consume(count)
        return true
      }
      let framing = head.framing(for: plan.method)
      let keepsAlive = head.keepsAlive && head.status != 101
      let status = head.status
      memory.learn(buffer.bytes, count: count, status: status, framing: framing, keepsAlive: keepsAlive)
      buffer.consume(count)
      return beginBody(index, status, framing, keepsAlive)
    }
  }

  @inline(__always)
  private mutating func beginBody(_ index: Int, _ status: Int, _ framing: BodyFraming, _ keepsAlive: Bool) -> Bool {
    slots[index].keepsAlive = keepsAlive
    slots[index].status = Int32(truncatingIfNeeded: status)
    switch framing {
    case .none: complete(index)
    case .length(let length):
      slots[index].bodyLeft = length
      slots[index].phase = .length
      if length == 0 { complete(index) }
    case .chunked:
      slots[index].chunks = ChunkedDecoder()
      slots[index].phase = .chunks
    case .untilClose: slots[index].phase = .untilClose
    }
    return true
  }

  private mutating func readChunks(_ index: Int, _ buffer: ByteBuffer) -> Bool {
    while true {
      switch slots[index].chunks.next(buffer.bytes) {
      case .data(let skip, let count): buffer.consume(skip + count)
      case .trailer(name: _, value: _, isForbidden: _, let consumed): buffer.consume(consumed)
      case .incomplete(let consumed):
        buffer.consume(consumed)
        return false
      case .end(let consumed):
        buffer.consume(consumed)
        complete(index)
        return true
      case .malformed:
        fail(index, .malformed)
        return false
      }
    }
  }

  /// The last byte of a response has come.
  @inline(__always)
  private mutating func complete(_ index: Int) {
    let moment = world.moment
    let startedAt = slots[index].startedAt
    if startedAt >= measureStart {
      tally.latency.record(UInt64(truncatingIfNeeded: max(0, moment.nanoseconds(since: startedAt))))
      tally.statuses[Int(slots[index].status)] &+= 1
    }
    slots[index].outstanding &-= 1
    slots[index].phase = .head
    if slots[index].keepsAlive && reuses {
      if slots[index].outstanding > 0 { return }
      busy &-= 1
      slots[index].phase = .idle
      if unsent[index] != nil {
        // Answered before it was sent whole: what is left would be taken for the next request.
        retire(index, reset: true)
      } else {
        free(index, at: moment)
      }
      return
    }
    // Requests that the server declined to read are neither answered nor failed; they are sent again as new ones.
    let declined = UInt64(max(0, slots[index].outstanding))
    issued &-= declined
    if startedAt >= measureStart { tally.started &-= min(declined, tally.started) }
    if slots[index].outstanding == 0 { busy &-= 1 }
    // A stream that is closed before its server has ended it would be reset.
    if isMultiplexed && unsent[index] == nil {
      slots[index].phase = .ending
      return
    }
    retire(index, reset: false)
  }
}
