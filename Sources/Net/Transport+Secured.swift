// Sockets that speak TLS: how it begins and ends, and what events mean for them.

import Core
import Crypto

extension Transport {
  /// Makes a socket that has just been accepted one of this transport's, which passes bytes on until TLS begins. To be called
  /// before it is registered; from then on only the socket that is returned may be used.
  public func adopt(_ socket: Socket) -> Socket {
    let index = takeSlot(for: socket)
    slots[index].state = .plain
    return Socket(descriptor: Self.firstSecured | Int32(index))
  }

  /// Begins to connect to a server that speaks TLS, whose certificate must be good for `name`. The first `writable` event means
  /// that ``connectFailure(_:)`` can be asked how that and the handshake went. Sessions of connections with the same
  /// `resumption` go on.
  public func connect(
    to address: SocketAddress, token: UInt64, _ context: TLSClientContext, name: String, resumption: String?
  ) throws(NetworkError) -> Socket {
    let index = takeSlot(for: .none)
    do throws(TLSFault) {
      slots[index].session = try TLSSession(context, name: name, resumption: resumption, wire: wire)
    } catch {
      freeSlot(index)
      // The name cannot be verified: nobody there can be the server.
      throw .unreachable
    }
    do throws(NetworkError) { slots[index].socket = try base.connect(to: address, token: ownToken(index)) } catch {
      freeSlot(index)
      throw error
    }
    slots[index].state = .connecting
    slots[index].isServed = true
    slots[index].beganAt = moment
    slots[index].token = token
    return Socket(descriptor: Self.firstSecured | Int32(index))
  }

  /// Whether a socket was adopted, and its TLS has not begun.
  public func canSecure(_ socket: Socket) -> Bool {
    index(of: socket).map { slots[$0].state == .plain && slots[$0].multiplex == nil } ?? false
  }

  /// Begins TLS, as the server, on a socket that was adopted. `received` has been received from it and belongs to TLS.
  public func secure(
    _ socket: Socket, _ context: TLSServerContext, received: RawSpan = RawSpan(), _ limits: HandshakeLimits
  ) {
    guard let index = index(of: socket) else { preconditionFailure("a plain socket cannot be secured") }
    // The session is made when the client says something: one that is silent costs nothing.
    slots[index].context = context
    slots[index].helloLimit = limits.helloBytes
    slots[index].state = .handshaking
    setDeadline(index, after: limits.timeout)
    guard !received.isEmpty else { return }
    slots[index].kept = ByteBuffer(received)
    slots[index].inputWaits = true
    enqueue(index)
  }

  /// What TLS has agreed on; nil before, and for a socket that is not secured.
  public func facts(of socket: Socket) -> TLSFacts? {
    guard let index = index(of: socket), let session = slots[index].session,
      session.stage != .handshaking || session.isEarly
    else { return nil }
    return session.facts
  }

  /// What session tickets are sealed with; nil for no resumption.
  public func setTickets(_ keys: TLSTicketKeys?) { wire.tickets = keys }

  // MARK: Events

  /// What an event of the base means for the owner of the socket; nil for nothing.
  public func ready(token: UInt64, _ readiness: Readiness) -> TransportEvent? {
    guard let index = index(ofToken: token) else { return nil }
    if !readiness.isDisjoint(with: [.readable, .peerEnded, .broken]) { slots[index].inputWaits = true }
    if !readiness.isDisjoint(with: [.peerEnded, .broken]) { slots[index].endWaits = true }
    var readiness = readiness
    if readiness.contains(.writable), slots[index].unsent != nil {
      flush(index)
      if slots[index].unsent != nil { readiness.remove(.writable) }
    }
    if let multiplex = slots[index].multiplex, slots[index].state == .plain || slots[index].state == .open {
      if readiness == .writable { touch(multiplex) } else { receiveFrames(multiplex) }
      return nil
    }
    switch slots[index].state {
    case .free, .failed: return nil
    case .plain, .open: return readiness.isEmpty ? nil : TransportEvent(token: slots[index].token, readiness: readiness)
    case .handshaking:
      if slots[index].inputWaits { enqueue(index) }
      return nil
    case .early:
      if isEarly(slot: index), slots[index].inputWaits { enqueue(index) }
      if let multiplex = slots[index].multiplex { touch(multiplex) }
      return slots[index].multiplex == nil && !readiness.isEmpty
        ? TransportEvent(token: slots[index].token, readiness: readiness) : nil
    case .connecting:
      if !readiness.isDisjoint(with: [.writable, .broken]) { return connected(index) }
      return nil
    case .closing:
      if readiness.contains(.broken) || slots[index].unsent == nil { finishClosing(index) }
      return nil
    }
  }

  /// What has happened that no event of the base tells of; nil where there is nothing more. To be asked once a turn until it
  /// is nil: handshakes go on here, as many as a turn has time for.
  public func nextEvent() -> TransportEvent? {
    while true {
      if let event = dueEvents.popLast() { return event }
      if !hasBegunEvents {
        hasBegunEvents = true
        swap(&events, &dueEvents)
        continue
      }
      if let event = nextStreamEvent() { return event }
      guard handshakesLeft > 0, !queued.isEmpty, hasTimeForHandshake() else { return nil }
      handshakesLeft -= 1
      let token = queued.removeFirst()
      guard let index = index(ofToken: token), shakesHands(index) else { continue }
      slots[index].isQueued = false
      shakeHands(index)
    }
  }

  /// Whether another handshake may go on in this turn; the first always may.
  private func hasTimeForHandshake() -> Bool {
    guard let stopwatch else { return true }
    let moment = stopwatch()
    if handshakesLeft == Self.handshakesPerTurn { handshakesBegan = moment }
    return moment.nanoseconds(since: handshakesBegan) < Self.handshakeTime
  }

  /// Ends the turn: lets those go whose time is up, and returns when to be called again.
  public func endTurn() -> Instant {
    handshakesLeft = Self.handshakesPerTurn
    hasBegunEvents = false
    while let index = timers.pop(now: base.now) { timerFired(Int(index)) }
    let goesOn = endMultiplexTurn()
    return events.isEmpty && queued.isEmpty && !goesOn ? timers.nextDeadline : base.now
  }

  /// A connection to a server stands, or has failed.
  private func connected(_ index: Int) -> TransportEvent? {
    if let fault = base.connectFailure(slots[index].socket) {
      slots[index].state = .failed
      slots[index].fault = fault
      if let multiplex = slots[index].multiplex {
        lose(multiplex)
        return nil
      }
      return TransportEvent(token: slots[index].token, readiness: [.writable, .broken])
    }
    if slots[index].session == nil, let multiplex = slots[index].multiplex {
      slots[index].state = .plain
      stand(multiplex)
      return nil
    }
    slots[index].state = .handshaking
    enqueue(index)
    return nil
  }

  private func enqueue(_ index: Int) {
    guard !slots[index].isQueued else { return }
    slots[index].isQueued = true
    queued.append(ownToken(index))
  }

  func post(_ index: Int, _ readiness: Readiness) {
    if let multiplex = slots[index].multiplex {
      multiplex.inputWaits = true
      return touch(multiplex)
    }
    events.append(TransportEvent(token: slots[index].token, readiness: readiness))
  }

  /// This very moment, where there is a stopwatch.
  var moment: Instant { stopwatch?() ?? base.now }

  private func tellServerHandshake(_ index: Int, _ outcome: HandshakeOutcome) {
    onServerHandshake(outcome, max(0, moment.nanoseconds(since: slots[index].beganAt)))
  }

  func setDeadline(_ index: Int, after nanoseconds: Int64) {
    slots[index].deadline = base.now.advanced(byNanoseconds: nanoseconds)
    timers.schedule(Int32(index), at: slots[index].deadline)
  }

  private func timerFired(_ index: Int) {
    let sendDeadline = slots[index].sendDeadline
    if sendDeadline <= base.now { return sendTimedOut(index) }
    guard slots[index].deadline <= base.now else {
      return timers.schedule(Int32(index), at: min(slots[index].deadline, sendDeadline))
    }
    timers.schedule(Int32(index), at: sendDeadline)
    switch slots[index].state {
    case .handshaking, .early: fail(index, .timedOut)
    case .closing: finishClosing(index)
    case .plain, .open: if let multiplex = slots[index].multiplex { checkMultiplex(multiplex) }
    case .connecting: if slots[index].multiplex != nil { fail(index, .timedOut) }
    case .free, .failed: break
    }
  }

  // MARK: Handshake

  private func shakesHands(_ index: Int) -> Bool { slots[index].state == .handshaking || isEarly(slot: index) }

  private func shakeHands(_ index: Int) {
    incoming.removeAll()
    if let kept = slots[index].kept {
      incoming.append(kept.bytes)
      slots[index].kept = nil
    }
    while shakesHands(index) {
      var isDrained = true
      if slots[index].inputWaits {
        switch base.receive(slots[index].socket, into: incoming, limit: Self.receiveLimit) {
        case .count(let count):
          isDrained = count < Self.receiveLimit && !slots[index].endWaits
        case .wouldBlock: slots[index].inputWaits = false
        case .ended, .failed: return fail(index, .abandoned)
        }
      }
      // A server waits for the first word, and makes nothing before.
      guard slots[index].isServed || slots[index].session != nil || !incoming.isEmpty else { return }
      guard let session = session(index) else { return fail(index, .abandoned) }
      slots[index].handshakeBytes += Int32(incoming.count)
      let before = outgoing.count
      do throws(TLSFault) {
        guard try session.shakeHands() else {
          if !checkSize(index, isAnswered: outgoing.count > before) { return }
          sendOutgoing(index)
          announceEarlyData(index, session)
          if isDrained {
            slots[index].inputWaits = false
            return
          }
          continue
        }
      } catch {
        sendOutgoing(index)
        if slots[index].isServed { onServerFault(error) }
        return fail(index, session.failure.map { .failed($0) } ?? .abandoned)
      }
      // Tickets are sent at once, although the first response could take them along: they acknowledge the client's last
      // word, for which one that does not switch off Nagle's algorithm waits 40 ms before it asks for anything.
      sendOutgoing(index)
      if isDrained { slots[index].inputWaits = false }
      establish(index, session)
    }
  }

  /// The session of a handshake, which begins with its first bytes.
  private func session(_ index: Int) -> TLSSession? {
    if let session = slots[index].session { return session }
    guard let context = slots[index].context, let session = try? TLSSession(context, wire: wire) else { return nil }
    slots[index].context = nil
    slots[index].session = session
    return session
  }

  /// Whether the client keeps to the limits. What it sends before it is answered is its first message.
  private func checkSize(_ index: Int, isAnswered: Bool) -> Bool {
    if isAnswered { slots[index].isAnswered = true }
    // A server's certificates may be long; its time is limited by whoever connects.
    if slots[index].isServed { return true }
    let limit = slots[index].isAnswered ? Self.handshakeBytes : slots[index].helloLimit
    guard slots[index].handshakeBytes > limit else { return true }
    fail(index, .tooLarge)
    return false
  }

  private func establish(_ index: Int, _ session: TLSSession) {
    let wasEarly = slots[index].state == .early
    let isHTTP2 = session.facts.applicationProtocol == "h2"
    if slots[index].multiplex != nil, !isHTTP2 { return fail(index, .failed(.noCommonProtocol)) }
    slots[index].state = .open
    slots[index].deadline = .never
    keepIncoming(index)
    if wasEarly { return establishEarly(index, session) }
    if slots[index].isServed { tellServerHandshake(index, session.facts.isResumed ? .resumed : .full) }
    if let multiplex = slots[index].multiplex { return stand(multiplex) }
    // What came behind the handshake lies here, and no event of the base will tell.
    let hasInput = slots[index].kept != nil || slots[index].inputWaits
    if slots[index].isServed {
      post(index, hasInput ? [.readable, .writable] : .writable)
    } else {
      onHandshake(session.facts.isResumed ? .resumed : .full)
      if isHTTP2 {
        post(index, .readable)
        receiveFrames(beginMultiplex(index))
        return
      }
      if hasInput { post(index, [.readable, .writable]) }
    }
  }

  private func fail(_ index: Int, _ outcome: HandshakeOutcome) {
    if slots[index].isServed, slots[index].state == .handshaking { tellServerHandshake(index, outcome) }
    slots[index].state = .failed
    slots[index].kept = nil
    incoming.removeAll()
    outgoing.removeAll()
    if !slots[index].isServed { onHandshake(outcome) }
    if let multiplex = slots[index].multiplex { return lose(multiplex) }
    post(index, [.readable, .writable, .broken])
  }
}
