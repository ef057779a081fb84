import Core

extension RedisLink {
  enum ReplyOutcome: ~Copyable {
    case event(RedisEvent)
    /// Something happened inside; look again.
    case again
    case none
  }

  /// Takes the next reply, if there is one.
  func nextReply() -> ReplyOutcome {
    guard phase == .greeting || phase == .up || phase == .draining else { return .none }
    release()
    switch reader.next() {
    case .incomplete: return .none
    case .malformed:
      fault = .malformed
      return .none
    case .reply(let reply):
      if !settings.channels.isEmpty {
        switch pushed(reply) {
        case .message: return .event(.message(reply))
        case .confirmation:
          confirm()
          return .again
        case .answer: break
        }
      }
      // A reply that nobody asked for, or to a command that has not been sent, is no reply.
      guard let command = ring.first, command.byteCount <= sentCount else {
        fault = .malformed
        return .none
      }
      _ = ring.popFirst()
      sentCount -= command.byteCount
      finished = command.byteCount
      answeredCommand = command
      if ring.isEmpty, held.isEmpty { nextExpiry = .max }
      if command.step == .user { return answered(command, reply) }
      if command.step == .map { return .event(.reply(tag: 0, reply, isLate: false)) }
      concluded(command, reply)
      return .again
    }
  }

  /// Asks for the map of a cluster's slots; the answer is handed out. False where that cannot be asked now.
  func askMap() -> Bool {
    guard isUp, pendingCount < settings.limits.commands else { return false }
    append(["CLUSTER", "SLOTS"], .map)
    return true
  }

  /// Takes a command that another link has brought the refusal of, with what is left of its time. False where it cannot
  /// be taken now.
  func adopt(_ command: PendingCommand, _ bytes: RawSpan, isAsking: Bool) -> Bool {
    guard isUp, settings.channels.isEmpty, pendingCount + 2 <= settings.limits.commands,
      outgoing.count + bytes.byteCount + 64 <= settings.limits.bytes
    else { return false }
    if isAsking { append(["ASKING"], .asking) }
    outgoing.append(bytes)
    var again = command
    again.since = world.now.nanoseconds
    again.redirections += 1
    nextExpiry = min(nextExpiry, again.deadline)
    ring.append(again)
    return true
  }

  private enum Push { case message, confirmation, answer }

  /// Of a connection that listens: what a reply is.
  private func pushed(_ reply: borrowing RedisReply) -> Push {
    let value = reply.value
    guard value.kind == .array, value.count == 3 else { return .answer }
    if value[0].equals("message") { return .message }
    // A refusal of the command as a whole answers it.
    return value[0].equals("subscribe") && unconfirmed > 0 ? .confirmation : .answer
  }

  private func confirm() {
    unconfirmed -= 1
    guard unconfirmed == 0, let command = ring.popFirst(), command.byteCount <= sentCount else {
      if unconfirmed == 0 { fault = .malformed }
      return
    }
    sentCount -= command.byteCount
    finished = command.byteCount
    becomeUp()
  }

  private func answered(_ command: PendingCommand, _ reply: consuming RedisReply) -> ReplyOutcome {
    if let error = reply.error {
      switch error {
      case .noFunction, .noScript:
        guard settings.functionLibrary != nil else { break }
        load()
        if !command.isReplay, !command.isExpired {
          hold(command)
          return .again
        }
      // Everything else that is under way will be refused alike, and has not run either.
      case .readOnly: if settings.needsPrimary { drain(.notPrimary) }
      case .loading: drain(.loading)
      case .unauthenticated: drain(.refused(error))
      default: break
      }
    }
    return .event(.reply(tag: command.tag, reply, isLate: command.isExpired))
  }

  /// One of the link's own commands was answered.
  private func concluded(_ command: PendingCommand, _ reply: borrowing RedisReply) {
    let value = reply.value
    switch command.step {
    case .functionLibrary, .script: loaded(command.step, value)
    case .user, .map, .probe, .asking: break
    case .subscribe: fault = value.error.map { .refused($0) } ?? .malformed
    case .authenticate, .select, .name, .role, .server, .replication:
      greeting.note(command.step, value)
    case .persistence:
      greeting.note(command.step, value)
      greeted()
    }
  }

  /// Writes one of the link's own commands.
  func append(_ arguments: [[UInt8]], _ step: PendingCommand.Step) {
    let before = outgoing.count
    RedisCommand.append(arguments, to: outgoing)
    ring.append(
      PendingCommand(
        tag: 0, since: world.now.nanoseconds, deadline: .max, byteCount: outgoing.count - before, step: step))
  }

  func append(_ arguments: [String], _ step: PendingCommand.Step) {
    append(arguments.map { Array($0.utf8) }, step)
  }
}
