import Core
import HTTP

/// The fixed answer, its bytes built once for each kind of request.
final class EchoFixed {
  let kept: ByteBuffer
  let closed: ByteBuffer
  let headOnly: ByteBuffer

  init(_ body: [UInt8], _ settings: EchoSettings) {
    func answer(_ keepsAlive: Bool, withBody: Bool) -> ByteBuffer {
      var slot = EchoSlot()
      slot.keepsAlive = keepsAlive
      let buffer = ByteBuffer(capacity: body.count + 256)
      EchoReply.writeHead(
        settings.status, type: "text/plain", length: settings.isChunked ? nil : Int64(body.count), for: slot,
        into: buffer)
      guard withBody, settings.status != 204, settings.status != 304 else { return buffer }
      if settings.isChunked && !body.isEmpty {
        buffer.append(hexadecimal: UInt64(body.count))
        buffer.append("\r\n")
      }
      buffer.append(body)
      if settings.isChunked { buffer.append(body.isEmpty ? "0\r\n\r\n" : "\r\n0\r\n\r\n") }
      return buffer
    }
    kept = answer(true, withBody: true)
    closed = answer(false, withBody: true)
    headOnly = answer(true, withBody: false)
  }
}

// Answering.
extension EchoFlow {
  /// The quickest answer there is.
  @inline(__always)
  mutating func answerFixed(_ index: Int) {
    guard let fixed else { return }
    if slots[index].method == .head {
      write(fixed.headOnly)
    } else if slots[index].keepsAlive && !slots[index].isHTTP10 {
      write(fixed.kept)
    } else {
      // The answer says 1.1, as a server may; a 1.0 client gets it with the end of the connection, and without chunks.
      slots[index].keepsAlive = false
      if slots[index].isHTTP10 && settings.isChunked {
        EchoReply.writeHead(settings.status, type: "text/plain", length: nil, for: slots[index], into: output)
        output.append(settings.fixedBody ?? [])
      } else {
        write(fixed.closed)
      }
    }
    endAnswer(index)
  }

  @inline(__always)
  private func write(_ bytes: ByteBuffer) { output.append(bytes.bytes) }

  /// The request has come in whole.
  mutating func endBody(_ index: Int) {
    switch slots[index].action {
    case .describe(let status, let delay):
      if delay == 0 {
        answerDescription(index, status)
      } else {
        slots[index].phase = .waiting
        slots[index].wakeAt = world.now.advanced(byNanoseconds: delay * 1_000_000)
        wheel.schedule(Int32(truncatingIfNeeded: index), at: slots[index].wakeAt)
      }
    case .bytes(let count, let isChunked):
      slots[index].isChunked = isChunked && !slots[index].isHTTP10
      if isChunked && slots[index].isHTTP10 { slots[index].keepsAlive = false }
      EchoReply.writeHead(
        settings.status, type: "text/plain", length: isChunked ? nil : count, for: slots[index], into: output)
      slots[index].produceLeft = count
      slots[index].phase = .produce
      if slots[index].method == .head { endAnswer(index) }
    case .echo where slots[index].isCall:
      EchoReply.endCall(slots[index].call, collected: drafts[index], into: output)
      drafts[index] = nil
      endAnswer(index)
    case .echo:
      if slots[index].isChunked && slots[index].method != .head { output.append("0\r\n\r\n") }
      endAnswer(index)
    case .events: beginEvents(index)
    case .closeMidBody:
      slots[index].keepsAlive = false
      var promising = slots[index]
      promising.keepsAlive = true
      EchoReply.writeHead(200, type: "text/plain", length: 1000, for: promising, into: output)
      output.append(block.bytes.extracting(0..<500))
      endAnswer(index)
    case .refuse: refuse(index, 400, "this path needs a number that is in range")
    }
  }

  /// The delay is over.
  mutating func answerDraft(_ index: Int) {
    guard case .describe(let status, _) = slots[index].action else { return }
    answerDescription(index, status)
  }

  private mutating func answerDescription(_ index: Int, _ status: Int) {
    if fixed != nil {
      guard status == settings.status else {
        EchoReply.writeHead(status, type: "text/plain", length: 0, for: slots[index], into: output)
        endAnswer(index)
        return
      }
      answerFixed(index)
      return
    }
    guard let draft = drafts[index] else { return }
    EchoReply.endDescription(bodyBytes: slots[index].bodyCount, into: draft)
    let isChunked = settings.isChunked
    if isChunked && slots[index].isHTTP10 { slots[index].keepsAlive = false }
    EchoReply.writeHead(
      status, type: "application/json", length: isChunked ? nil : Int64(draft.count), for: slots[index], into: output)
    if slots[index].method != .head && status != 204 && status != 304 {
      let isFramed = isChunked && !slots[index].isHTTP10
      if isFramed {
        output.append(hexadecimal: UInt64(draft.count))
        output.append("\r\n")
      }
      output.append(draft.bytes)
      if isFramed { output.append("\r\n0\r\n\r\n") }
    }
    drafts[index] = nil
    endAnswer(index)
  }

  mutating func refuse(_ index: Int, _ status: Int, _ reason: StaticString) {
    slots[index].keepsAlive = false
    EchoReply.writeHead(
      status, type: "text/plain", length: Int64(reason.utf8CodeUnitCount + 1), for: slots[index], into: output)
    if slots[index].method != .head {
      output.append(reason)
      output.append("\n")
    }
    endAnswer(index)
  }

  private mutating func endAnswer(_ index: Int) {
    slots[index].phase = slots[index].keepsAlive ? .head : .closing
  }

  /// Makes up the next block of a body.
  mutating func produce(_ index: Int) {
    let count = Int(min(slots[index].produceLeft, Int64(Self.blockBytes)))
    if count > 0 {
      if slots[index].isChunked {
        output.append(hexadecimal: UInt64(count))
        output.append("\r\n")
      }
      output.append(block.bytes.extracting(0..<count))
      if slots[index].isChunked { output.append("\r\n") }
      slots[index].produceLeft -= Int64(count)
    }
    guard slots[index].produceLeft == 0 else { return }
    if slots[index].isChunked { output.append("0\r\n\r\n") }
    endAnswer(index)
  }

  private mutating func beginEvents(_ index: Int) {
    slots[index].isChunked = !slots[index].isHTTP10
    slots[index].keepsAlive = false
    slots[index].eventNumber = 0
    slots[index].wakeAt = .never
    EchoReply.writeHead(200, type: "text/event-stream", length: nil, for: slots[index], into: output)
    if slots[index].method == .head {
      endAnswer(index)
      return
    }
    slots[index].phase = .events
    sendEvent(index)
  }

  /// Writes an event and sets the moment of the next.
  mutating func sendEvent(_ index: Int) {
    guard case .events(let milliseconds) = slots[index].action else { return }
    slots[index].eventNumber += 1
    let event = ByteBuffer(capacity: 64)
    event.append("id: ")
    event.append(decimal: slots[index].eventNumber)
    event.append("\ndata: tick ")
    event.append(decimal: slots[index].eventNumber)
    event.append("\n\n")
    if slots[index].isChunked {
      output.append(hexadecimal: UInt64(event.count))
      output.append("\r\n")
    }
    output.append(event.bytes)
    if slots[index].isChunked { output.append("\r\n") }
    slots[index].wakeAt = world.now.advanced(byNanoseconds: milliseconds * 1_000_000)
    wheel.schedule(Int32(truncatingIfNeeded: index), at: slots[index].wakeAt)
  }
}
