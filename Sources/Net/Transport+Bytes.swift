// What is received from secured sockets, and sent to them.
//
// Receiving takes what the base has into the wire and decrypts it into the caller's buffer; sending encrypts into the wire
// and hands that to the base. What is left over in the wire is kept for the socket, and nothing where nothing is left.

import Core
import Crypto

extension Transport {
  @usableFromInline
  func receiveSecured(_ socket: Socket, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    if isStream(socket) { return receive(stream: slot(ofStream: socket), into: buffer, limit: limit) }
    guard let index = index(of: socket) else { return .failed(.reset) }
    // Its streams have to be accepted.
    if slots[index].multiplex != nil { return .wouldBlock }
    return receiveBeneath(index, into: buffer, limit: limit)
  }

  /// Receives from a slot, whatever it carries.
  func receiveBeneath(_ index: Int, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    switch slots[index].state {
    case .plain: return base.receive(slots[index].socket, into: buffer, limit: limit)
    case .connecting, .handshaking: return .wouldBlock
    case .free, .failed, .closing: return .failed(slots[index].fault)
    case .early: return receiveEarly(index, into: buffer, limit: limit)
    case .open: return receiveOpen(index, into: buffer, limit: limit)
    }
  }

  func receiveOpen(_ index: Int, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    guard let session = slots[index].session else { return .failed(.reset) }
    let start = buffer.count
    var failure: NetworkError?
    incoming.removeAll()
    if let kept = slots[index].kept {
      incoming.append(kept.bytes)
      slots[index].kept = nil
    }
    while true {
      if !incoming.isEmpty {
        do throws(TLSFault) { try session.receive(into: buffer, limit: limit - (buffer.count - start)) } catch {
          failure = .reset
        }
      }
      guard session.stage == .open, failure == nil, limit - (buffer.count - start) >= TLSSession.record,
        slots[index].inputWaits, !slots[index].hasEnded
      else { break }
      switch base.receive(slots[index].socket, into: incoming, limit: Self.receiveLimit) {
      case .count(let count): slots[index].inputWaits = count == Self.receiveLimit || slots[index].endWaits
      case .wouldBlock: slots[index].inputWaits = false
      case .ended:
        slots[index].hasEnded = true
        // A server says so before it ends; else somebody may have cut off a response (RFC 8446 section 6.1).
        if slots[index].isServed { failure = .reset }
      case .failed(let error): failure = error
      }
    }
    if session.stage == .ended { slots[index].hasEnded = true }
    if failure != nil { slots[index].state = .failed }
    keepIncoming(index)
    if !outgoing.isEmpty {
      sendOutgoing(index)
      if slots[index].state == .failed, failure == nil { failure = .reset }
    }
    return received(index, buffer.count - start, failure)
  }

  /// What to say of `count` decrypted bytes. Where there is more, an event will tell.
  private func received(_ index: Int, _ count: Int, _ failure: NetworkError?) -> TransferResult {
    if count == 0 {
      if let failure { return .failed(failure) }
      slots[index].isEndKnown = slots[index].hasEnded
      return slots[index].hasEnded ? .ended : .wouldBlock
    }
    if failure != nil || slots[index].hasEnded {
      post(index, [.readable, .peerEnded])
    } else if slots[index].kept != nil || slots[index].inputWaits {
      post(index, .readable)
    }
    return .count(count)
  }

  /// Keeps for this socket what has arrived and could not be decrypted yet.
  func keepIncoming(_ index: Int) {
    let incoming = incoming
    guard !incoming.isEmpty, slots[index].state == .open, !slots[index].hasEnded else { return }
    slots[index].kept = ByteBuffer(incoming.bytes)
    incoming.removeAll()
  }

  @usableFromInline
  func sendSecured(_ socket: Socket, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    if isStream(socket) { return send(stream: slot(ofStream: socket), first, second) }
    guard let index = index(of: socket) else { return .failed(.reset) }
    return sendBeneath(index, first, second)
  }

  /// Sends to a slot, whatever it carries.
  func sendBeneath(_ index: Int, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    switch slots[index].state {
    case .plain where second.isEmpty: return base.send(slots[index].socket, first)
    case .plain: return base.send(slots[index].socket, first, second)
    case .connecting, .handshaking: return .wouldBlock
    case .free, .failed, .closing: return .failed(slots[index].fault)
    case .early, .open: break
    }
    if slots[index].unsent != nil { flush(index) }
    guard slots[index].state == .open || slots[index].state == .early else { return .failed(.reset) }
    guard slots[index].unsent == nil else { return .wouldBlock }
    return slots[index].state == .early ? sendEarly(index, first, second) : sendOpen(index, first, second)
  }

  func sendOpen(_ index: Int, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    guard let session = slots[index].session else { return .failed(.reset) }
    slots[index].isEndKnown = false
    var (first, second) = (first, second)
    var taken = 0
    while !first.isEmpty || !second.isEmpty {
      let one = first.extracting(first: Self.sendLimit)
      let two = second.extracting(first: Self.sendLimit - one.byteCount)
      do throws(TLSFault) { try session.send(one, two) } catch {
        slots[index].state = .failed
        return .failed(.reset)
      }
      taken += one.byteCount + two.byteCount
      first = first.extracting(droppingFirst: one.byteCount)
      second = second.extracting(droppingFirst: two.byteCount)
      sendOutgoing(index)
      if slots[index].state == .failed { return .failed(.reset) }
      if slots[index].unsent != nil { break }
    }
    return .count(taken)
  }

  /// Sends what a session has left in the wire, and keeps what is not taken.
  func sendOutgoing(_ index: Int) {
    let outgoing = outgoing
    guard !outgoing.isEmpty else { return }
    if let unsent = slots[index].unsent {
      unsent.append(outgoing.bytes)
      outgoing.removeAll()
      if unsent.count > Self.unsentLimit {
        slots[index].unsent = nil
        broke(index)
      }
      return
    }
    switch base.send(slots[index].socket, outgoing.bytes) {
    case .count(let count): outgoing.consume(count)
    case .wouldBlock: break
    case .ended, .failed:
      outgoing.removeAll()
      broke(index)
    }
    if !outgoing.isEmpty {
      slots[index].unsent = ByteBuffer(outgoing.bytes)
      outgoing.removeAll()
      expectProgress(index)
    }
  }

  /// Gives the peer time to take some of what waits for it.
  private func expectProgress(_ index: Int) {
    slots[index].sendDeadline = base.now.advanced(byNanoseconds: sendTimeout)
    timers.schedule(Int32(index), at: slots[index].sendDeadline)
  }

  /// The peer has taken nothing for too long.
  func sendTimedOut(_ index: Int) {
    (slots[index].unsent, slots[index].sendDeadline, slots[index].fault) = (nil, .never, .timedOut)
    slots[index].state = .failed
    if !slots[index].isServed { onSlowReader() }
    if let multiplex = slots[index].multiplex { return lose(multiplex) }
    events.append(TransportEvent(token: slots[index].token, readiness: [.readable, .writable, .broken]))
  }

  /// Sends what was not taken before.
  func flush(_ index: Int) {
    guard let unsent = slots[index].unsent else { return }
    switch base.send(slots[index].socket, unsent.bytes) {
    case .count(let count):
      unsent.consume(count)
      if count > 0, slots[index].state != .closing { expectProgress(index) }
    case .wouldBlock: break
    case .ended, .failed:
      slots[index].unsent = nil
      return broke(index)
    }
    guard unsent.isEmpty else { return }
    (slots[index].unsent, slots[index].sendDeadline) = (nil, .never)
    if slots[index].endsAfterUnsent { base.endSending(slots[index].socket) }
  }

  /// Nothing can be sent any more; what has arrived before can still be had.
  private func broke(_ index: Int) {
    if slots[index].state == .open || slots[index].state == .early { slots[index].state = .failed }
  }

  // MARK: Ends

  func endSendingSecured(_ index: Int) {
    if isEarly(slot: index) {
      slots[index].endsAfterHandshake = true
      return
    }
    guard slots[index].state == .open || slots[index].state == .plain || slots[index].state == .early else { return }
    slots[index].session?.endSending()
    sendOutgoing(index)
    if slots[index].unsent == nil {
      base.endSending(slots[index].socket)
    } else {
      slots[index].endsAfterUnsent = true
    }
  }

  func closeSecured(_ index: Int, reset: Bool) {
    if slots[index].multiplex != nil { _ = endMultiplex(Socket(descriptor: Self.firstSecured | Int32(index))) }
    let isEarly = isEarly(slot: index)
    if slots[index].state == .handshaking || isEarly, !slots[index].isServed { onHandshake(.abandoned) }
    let stands = slots[index].state == .open || slots[index].state == .early
    // One that has gone in good order, and was told nothing since, waits for no answer.
    if stands, !reset, !isEarly, !slots[index].isEndKnown {
      slots[index].session?.endSending()
      sendOutgoing(index)
    }
    guard !reset, slots[index].unsent != nil, stands else {
      base.close(slots[index].socket, reset: reset || slots[index].fault == .timedOut)
      return freeSlot(index)
    }
    slots[index].state = .closing
    slots[index].session = nil
    slots[index].kept = nil
    slots[index].sendDeadline = .never
    setDeadline(index, after: Self.closingTime)
  }

  func finishClosing(_ index: Int) {
    base.close(slots[index].socket, reset: slots[index].unsent != nil)
    freeSlot(index)
  }
}

extension ByteBuffer {
  /// A copy of `bytes`, no larger than it has to be.
  convenience init(_ bytes: RawSpan) {
    self.init(capacity: bytes.byteCount)
    append(bytes)
  }
}
