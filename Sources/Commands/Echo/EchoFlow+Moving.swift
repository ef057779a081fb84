import Core
import HTTP

// Moving bytes: what is unsent first, then whatever the phase asks for, until nothing moves any more.
extension EchoFlow {
  mutating func handle(_ index: Int) {
    let generation = slots[index].generation
    for _ in 0..<Self.roundsPerTurn {
      guard flushOutbox(index), slots[index].generation == generation else { return }
      let goesOn = advance(index)
      guard slots[index].generation == generation else {
        output.removeAll()
        input.removeAll()
        return
      }
      keepInput(index)
      guard sendOutput(index), slots[index].generation == generation else { return }
      if slots[index].phase == .closing {
        finish(index)
        return
      }
      if !goesOn { return }
    }
    again.append(Int32(truncatingIfNeeded: index))
  }

  /// Takes one step; false where only an event can bring the next.
  private mutating func advance(_ index: Int) -> Bool {
    switch slots[index].phase {
    case .unused, .closing, .carrier: return false
    case .produce:
      produce(index)
      return true
    case .waiting:
      guard slots[index].wakeAt == .never else { return false }
      answerDraft(index)
      return true
    case .events:
      if slots[index].peerEnded {
        close(index)
        return false
      }
      if slots[index].wakeAt == .never { sendEvent(index) }
      return false
    case .head, .discard, .echo, .tunnel, .webSocket: return readOn(index)
    }
  }

  /// Uses what was received before, or receives more.
  private mutating func readOn(_ index: Int) -> Bool {
    if let inbox = inboxes[index], !inbox.isEmpty {
      let before = inbox.count
      let phase = slots[index].phase
      process(index, inbox)
      if inbox.count != before || slots[index].phase != phase { return true }
    }
    guard slots[index].isReadable else { return false }
    let inbox = inboxes[index]
    let buffer = inbox.map { !$0.isEmpty } ?? false ? inbox! : input
    switch world.receive(slots[index].socket, into: buffer, limit: Self.receiveLimit) {
    case .count(let count):
      if count < Self.receiveLimit && !slots[index].peerEnded { slots[index].isReadable = false }
      process(index, buffer)
      return true
    case .wouldBlock:
      slots[index].isReadable = false
      return false
    case .ended:
      // Half-closed tunnels have had all their bytes back by now; in any other phase nobody waits for an answer.
      slots[index].isReadable = false
      slots[index].phase = .closing
      return true
    case .failed:
      close(index)
      return false
    }
  }

  /// Keeps what the shared buffer still holds with its connection.
  private mutating func keepInput(_ index: Int) {
    if input.isEmpty { return }
    let inbox = inboxes[index] ?? ByteBuffer(capacity: input.count)
    inbox.append(input.bytes)
    inboxes[index] = inbox
    input.removeAll()
  }

  /// Sends what was written; false where the rest must wait, or the connection is gone.
  @inline(__always)
  private mutating func sendOutput(_ index: Int) -> Bool {
    if output.isEmpty { return true }
    let total = output.count
    switch world.send(slots[index].socket, output.bytes) {
    case .count(let count) where count == total:
      output.removeAll()
      return true
    case .count(let count): output.consume(count)
    case .wouldBlock: break
    case .ended, .failed:
      output.removeAll()
      close(index)
      return false
    }
    let outbox = ByteBuffer(capacity: output.count)
    outbox.append(output.bytes)
    outboxes[index] = outbox
    output.removeAll(keeping: 1 << 20)
    return false
  }

  /// Sends what could not be sent before; false while some is left, or where the connection is gone.
  private mutating func flushOutbox(_ index: Int) -> Bool {
    guard let outbox = outboxes[index] else { return true }
    while !outbox.isEmpty {
      switch world.send(slots[index].socket, outbox.bytes) {
      case .count(let count): outbox.consume(count)
      case .wouldBlock: return false
      case .ended, .failed:
        close(index)
        return false
      }
    }
    outboxes[index] = nil
    if slots[index].phase == .closing {
      finish(index)
      return false
    }
    return true
  }

  /// Everything was sent to a connection that ends. Our end of the stream goes first, so that what the client still
  /// sends does not destroy the answer on its way.
  private mutating func finish(_ index: Int) {
    world.endSending(slots[index].socket)
    close(index)
  }
}
