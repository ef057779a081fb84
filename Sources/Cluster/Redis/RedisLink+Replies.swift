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
      // A reply that nobody asked for, or to a command that has not been sent, is no reply.
      guard let command = ring.first, command.byteCount <= sentCount else {
        fault = .malformed
        return .none
      }
      _ = ring.popFirst()
      sentCount -= command.byteCount
      finished = command.byteCount
      if ring.isEmpty, held.isEmpty { nextExpiry = .max }
      if command.step == .user { return answered(command, reply) }
      concluded(command, reply)
      return .again
    }
  }

  private func answered(_ command: PendingCommand, _ reply: consuming RedisReply) -> ReplyOutcome {
    if let error = reply.error {
      switch error {
      case .noFunction, .noScript:
        guard settings.library != nil else { break }
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
    case .library, .script: loaded(command.step, value)
    case .user, .probe, .asking: break
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
