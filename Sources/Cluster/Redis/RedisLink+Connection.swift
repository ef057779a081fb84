import Core
import Crypto

extension RedisLink {
  /// Begins an attempt.
  func begin() {
    switch server.address {
    case .socket(let address): connect(to: address)
    case .name(let host, port: _):
      phase = .resolving
      phaseDeadline = world.now.advanced(byNanoseconds: settings.limits.lookUp)
      notices.append(.lookUp(host))
    }
  }

  func connect(to address: SocketAddress) {
    generation &+= 1
    token = makeToken(generation)
    phase = .connecting
    phaseDeadline = world.now.advanced(byNanoseconds: settings.limits.connect)
    do throws(NetworkError) {
      socket = try world.connect(to: address, token: token)
    } catch {
      fault = .connect(error)
    }
  }

  /// The attempt has come to its end, good or bad.
  func connected() {
    if let error = world.connectFailure(socket) {
      fault = .connect(error)
      return
    }
    canWrite = true
    lastReceived = world.now
    guard let security else { return greet() }
    phase = .securing
    phaseDeadline = world.now.advanced(byNanoseconds: settings.limits.greeting)
    do throws(TLSFault) {
      tls = try TLSClient(security, name: server.encryption?.serverName ?? server.host)
    } catch {
      fault = .encryption(error.message)
    }
  }

  // MARK: Bytes

  /// Takes what has arrived, in pieces.
  func receive(untilEnd: Bool) {
    var pieces = 0
    let incoming = incoming
    while fault == nil, socket != .none {
      if pieces == Self.piecesPerTurn {
        mustReadAgain = true
        return
      }
      pieces += 1
      incoming.removeAll()
      switch world.receive(socket, into: incoming, limit: Self.piece) {
      case .count(let count):
        heard()
        feed()
        if count < Self.piece, !untilEnd { return }
      case .wouldBlock: return
      case .ended: fault = .closed
      case .failed(let error): fault = .broken(error)
      }
    }
  }

  /// Hands what was received on, decrypted where need be.
  private func feed() {
    let (incoming, plain) = (incoming, plain)
    guard let tls else {
      if !reader.feed(incoming.bytes) { fault = .malformed }
      return
    }
    plain.removeAll()
    do throws(TLSFault) {
      try tls.receive(incoming.bytes, into: plain)
    } catch {
      fault = .encryption(error.message)
    }
    if tls.isEstablished, phase == .securing, fault == nil { greet() }
    // What came before a failure still counts.
    if !plain.isEmpty, !reader.feed(plain.bytes) { fault = .malformed }
    if tls.hasEnded { fault = fault ?? .closed }
  }

  private func heard() {
    lastReceived = world.now
    guard isSilent else { return }
    isSilent = false
    notices.append(.responsive)
  }

  /// Sends what has not been sent.
  func transmit() {
    guard fault == nil, socket != .none else { return }
    switch phase {
    case .securing, .greeting, .up, .draining: break
    case .idle, .resolving, .pausing, .connecting, .stopped: return
    }
    if let tls { return transmit(through: tls) }
    let outgoing = outgoing
    while canWrite, sentCount < outgoing.count {
      sentCount += transmit(outgoing.bytes.extracting(sentCount..<outgoing.count))
    }
  }

  /// What has been encrypted counts as sent: whether its last byte left is not worth knowing.
  private func transmit(through tls: TLSClient) {
    let outgoing = outgoing
    while canWrite, fault == nil {
      if tls.outgoing.isEmpty {
        guard tls.isEstablished, sentCount < outgoing.count else { return }
        do throws(TLSFault) {
          try tls.send(outgoing.bytes.extracting(sentCount..<outgoing.count))
        } catch {
          fault = .encryption(error.message)
          return
        }
        sentCount = outgoing.count
      }
      let encrypted = tls.outgoing
      encrypted.consume(transmit(encrypted.bytes))
    }
  }

  /// Sends what the network takes of `bytes`; returns how many.
  private func transmit(_ bytes: RawSpan) -> Int {
    switch world.send(socket, bytes) {
    case .count(let count):
      lastSent = world.now
      if count < bytes.byteCount { canWrite = false }
      return count
    case .wouldBlock: canWrite = false
    case .ended:
      canWrite = false
      fault = .closed
    case .failed(let error):
      canWrite = false
      // What the server said before it went may still lie here.
      receive(untilEnd: true)
      fault = fault ?? .broken(error)
    }
    return 0
  }

  // MARK: The end

  /// Closes the connection, tells what became of every command, and sets the time of the next attempt.
  func tearDown(_ reason: RedisFault) {
    release()
    fault = nil
    world.close(socket, reset: true)
    socket = .none
    var end = 0
    while let command = ring.popFirst() {
      end += command.byteCount
      if command.step == .user, !command.isExpired { notices.append(.lost(command.tag, mayHaveRun: end <= sentCount)) }
    }
    giveUpHeld()
    outgoing.removeAll(keeping: Self.piece)
    incoming.removeAll()
    reader = RedisReader()
    tls = nil
    plain.removeAll(keeping: Self.piece)
    sentCount = 0
    canWrite = false
    mustReadAgain = false
    outstandingLoads = 0
    loadFailure = nil
    unconfirmed = 0
    nextExpiry = .max
    isSilent = false
    notices.append(.down(reason))
    phase = .pausing
    let pause = settings.limits.pause(attempt: attempts, random: world.random())
    phaseDeadline = world.now.advanced(byNanoseconds: pause)
    attempts += 1
  }

  /// Takes no more commands, and leaves once those under way are answered.
  func drain(_ reason: RedisFault) {
    guard phase == .up else { return }
    phase = .draining
    drainFault = reason
  }

  // MARK: Time

  /// Does what the clock asks for.
  func keepTime() {
    let now = world.now
    switch phase {
    case .idle, .stopped: return
    case .pausing: if phaseDeadline <= now { begin() }
    case .resolving:
      guard phaseDeadline <= now else { return }
      if candidates.isEmpty { fault = .unknownHost } else { connect(to: candidates[attempts % candidates.count]) }
    case .connecting, .securing, .greeting: if phaseDeadline <= now { fault = .timedOut }
    case .up, .draining:
      expire(now)
      if phase == .draining, ring.isEmpty, held.isEmpty {
        fault = drainFault
      } else if silenceDeadline <= now {
        fault = .silent
      } else if idleDeadline <= now {
        append([Array("PING".utf8)], .probe)
      }
    }
  }

  private func expire(_ now: Instant) {
    guard nextExpiry <= now.nanoseconds else { return }
    nextExpiry = .max
    var start = 0
    var hasUnsent = false
    var isUnheard = false
    for index in 0..<ring.count {
      let command = ring[index]
      defer { start += command.byteCount }
      guard command.step == .user, !command.isExpired else { continue }
      guard command.deadline <= now.nanoseconds else {
        nextExpiry = min(nextExpiry, command.deadline)
        continue
      }
      if lastReceived.nanoseconds <= command.since { isUnheard = true }
      if start >= sentCount {
        hasUnsent = true
      } else {
        ring[index].isExpired = true
        notices.append(.expired(command.tag))
      }
    }
    if hasUnsent { takeBack(now) }
    if isUnheard, !isSilent {
      isSilent = true
      notices.append(.silent)
    }
    expireHeld(now)
  }

  /// Takes back commands whose time is up before a byte of them was sent: they will not run for nobody's sake.
  private func takeBack(_ now: Instant) {
    let outgoing = outgoing
    let kept = ByteBuffer(capacity: outgoing.count)
    var commands = CommandRing()
    var start = 0
    while let command = ring.popFirst() {
      let end = start + command.byteCount
      if command.step == .user, !command.isExpired, command.deadline <= now.nanoseconds, start >= sentCount {
        notices.append(.lost(command.tag, mayHaveRun: false))
      } else {
        kept.append(outgoing.bytes.extracting(start..<end))
        commands.append(command)
      }
      start = end
    }
    ring = commands
    outgoing.removeAll()
    outgoing.append(kept.bytes)
  }

  private var silenceDeadline: Instant {
    guard let first = ring.first else { return .never }
    let since = max(lastReceived, Instant(nanoseconds: first.since))
    return since.advanced(byNanoseconds: settings.limits.silence)
  }

  private var idleDeadline: Instant {
    guard ring.isEmpty, phase == .up else { return .never }
    return max(lastReceived, lastSent).advanced(byNanoseconds: settings.limits.idle)
  }

  /// When the clock next asks for something.
  var nextDeadline: Instant {
    switch phase {
    case .idle, .stopped: .never
    case .pausing, .resolving, .connecting, .securing, .greeting: phaseDeadline
    case .up, .draining: min(min(Instant(nanoseconds: nextExpiry), silenceDeadline), idleDeadline)
    }
  }
}
