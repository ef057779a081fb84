// Routes that would rather ask than trust a node which may have missed something: `onStaleRevocations: "ask"`. A loop asks
// on the connection by which it decides limits, and waits no longer than for one. The store answers only where it may: a
// primary that was cut off together with the node would know no more than the node does.

import Core
import Pipeline

/// Questions of one loop about what is revoked.
struct RevocationQuestions {
  /// The most at the same time; beyond, nobody is asked.
  static let capacity = 512
  /// A question has as long as the decision of a limit, in nanoseconds.
  static let time: Int64 = 10_000_000

  private var open: [UInt32: (ticket: UInt64, marks: RevocationMarks)] = [:]
  private var answers: [UInt64: RevocationAnswer] = [:]
  private var answered: [UInt64] = []
  private var last: UInt32 = 0

  var hasRoom: Bool { open.count + answers.count < Self.capacity }
  var hasNews: Bool { !answered.isEmpty }

  mutating func add(_ marks: RevocationMarks, _ ticket: UInt64) -> UInt32 {
    last &+= 1
    open[last] = (ticket, marks)
    return last
  }

  mutating func settle(_ number: UInt32, _ answer: (RevocationMarks) -> RevocationAnswer) {
    guard let question = open.removeValue(forKey: number) else { return }
    answers[question.ticket] = answer(question.marks)
    answered.append(question.ticket)
  }

  mutating func forget(_ number: UInt32) { open[number] = nil }

  /// A ticket whose answer is known. What was answered before and not taken is gone with the next one.
  mutating func next() -> UInt64? {
    guard let ticket = answered.first else {
      answers.removeAll()
      return nil
    }
    answered.removeFirst()
    return ticket
  }

  mutating func take(_ ticket: UInt64) -> RevocationAnswer { answers.removeValue(forKey: ticket) ?? .unknown }
}

extension SharedQuota: RevocationDesk {
  /// See ``RevocationDesk``.
  public func ask(_ marks: RevocationMarks, ticket: UInt64) -> Bool {
    guard questions.hasRoom else { return false }
    let number = questions.add(marks, ticket)
    let dialect = client.primary(of: factSlot).flatMap { client.identity(of: $0)?.dialect }
    let admission = client.send(
      slot: factSlot, tag: Self.tag(.revocations, Int(number)), within: RevocationQuestions.time
    ) { buffer in
      var command = AgreementLibrary.current.call("fact-held", prefix: self.factPrefix, as: dialect)
      for index in 0..<marks.count {
        var writer = FactWriter()
        writer.integer(marks[index].bits)
        command.append(writer.bytes)
      }
      RedisCommand.append(command, to: buffer)
    }
    if admission != .accepted { questions.forget(number) }
    return admission == .accepted
  }

  /// See ``RevocationDesk``.
  public func answer(ticket: UInt64) -> RevocationAnswer { questions.take(ticket) }

  /// The ticket of a question about revocations that has been answered: ``answer(ticket:)`` tells how. Nil where that is
  /// all.
  public func nextKnown() -> UInt64? { questions.next() }

  /// The store has answered a question about revocations; nil where it did not.
  func revocationsAnswered(_ number: Int, _ reply: AgentReply?) {
    let now = UInt32(clamping: world.wallTime.seconds)
    questions.settle(UInt32(truncatingIfNeeded: number)) { marks in
      guard case .list(let items)? = reply, items.count == marks.count else { return .unknown }
      let isRevoked = items.contains { item in
        guard let bytes = item.bytes, case .revocation(let record)? = FactRecord(bytes) else { return false }
        let revocation = record.revocation
        return revocation.expires > now && (revocation.issuedBefore == 0 || marks.issued < revocation.issuedBefore)
      }
      return isRevoked ? .revoked : .clear
    }
  }
}
