// What clients say before their handshake is complete, and how they are answered: see TLSEarlyData.swift in Crypto.
//
// The socket is in a state of its own as long as that lasts, so that no other connection pays for it.

import Core
import Crypto

extension Transport {
  /// Whether what can be received from a socket now, or from the connection that it is a stream of, may have been sent by
  /// somebody who has recorded it: the client has said it before its handshake was complete, and still is not.
  public func isEarly(_ socket: Socket) -> Bool { index(of: socket).map { isEarly(slot: $0) } ?? false }

  func isEarly(slot index: Int) -> Bool { slots[index].state == .early && slots[index].session?.isEarly == true }

  /// Lets the owner know of what the client has said, if there is anything new.
  func announceEarlyData(_ index: Int, _ session: TLSSession) {
    guard session.hasEarlyData else { return }
    let isFirst = slots[index].state == .handshaking
    slots[index].state = .early
    // A carrier is announced before it is one.
    if isFirst { events.append(TransportEvent(token: slots[index].token, readiness: .readable)) }
    if isFirst, session.facts.applicationProtocol == "h2" {
      receiveFrames(beginMultiplex(index))
    } else if !isFirst {
      post(index, .readable)
    }
  }

  /// The handshake of a connection that has said something before is complete.
  func establishEarly(_ index: Int, _ session: TLSSession) {
    if session.hasEarlyData { slots[index].state = .early }
    onHandshake(.resumed)
    if slots[index].endsAfterHandshake { endSendingSecured(index) }
    post(index, [.readable, .writable])
  }

  func receiveEarly(_ index: Int, into buffer: ByteBuffer, limit: Int) -> TransferResult {
    guard let session = slots[index].session else { return .failed(.reset) }
    let count = session.receiveEarly(into: buffer, limit: limit)
    if count == 0, session.isEarly { return .wouldBlock }
    if session.hasEarlyData {
      post(index, .readable)
    } else if !session.isEarly {
      slots[index].state = .open
      if count == 0 { return receiveOpen(index, into: buffer, limit: limit) }
      post(index, .readable)
    }
    return .count(count)
  }

  func sendEarly(_ index: Int, _ first: RawSpan, _ second: RawSpan) -> TransferResult {
    guard let session = slots[index].session else { return .failed(.reset) }
    guard session.isEarly else { return sendOpen(index, first, second) }
    let one = first.extracting(first: Self.sendLimit)
    let two = second.extracting(first: Self.sendLimit - one.byteCount)
    do throws(TLSFault) { try session.sendEarly(one, two) } catch {
      slots[index].state = .failed
      return .failed(.reset)
    }
    sendOutgoing(index)
    if slots[index].state == .failed { return .failed(.reset) }
    let count = one.byteCount + two.byteCount
    // Nothing tells that there is room as long as the base took everything.
    if slots[index].unsent == nil, count < first.byteCount + second.byteCount { post(index, .writable) }
    return .count(count)
  }
}
