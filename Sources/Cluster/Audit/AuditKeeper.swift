// The audit log of the cluster: who changed what, and who was refused to.
//
// Lines are written by the node where something was asked for, signed by it in the cluster's name, and put in order by the
// store, which takes a line only behind the one that its writer knew. Every node then reads every line and hands it to its
// own log: so the store may lose lines, or somebody remove them, and they are still in as many places as there are nodes.
// What a failover lost is put back by whoever still has it in memory.

import Core

/// Writes the audit log, and follows it.
public final class AuditKeeper: AgentPart {
  /// The most entries that wait for the store; beyond, those that nobody recognised made way.
  static let mostWaiting = 1024
  /// Lines that are kept in memory, to be put back.
  static let mostKept = 256
  /// Lines that are read at once.
  static let page = 200
  /// Nanoseconds between attempts after a failure.
  private static let pause: Int64 = 500_000_000
  /// Nanoseconds until a node reads what another one has written, somewhere between these: verifying a line takes a tenth of a
  /// millisecond, and nodes that hear of a new configuration and its line at once have better things to do.
  private static let readingDelay: Range<Int64> = 20_000_000..<200_000_000

  private struct Line {
    let place: AuditPlace
    let bytes: [UInt8]
    let digest: String
  }

  private let context: AgentContext
  private var waiting: [AuditEntry] = []
  /// The last line in the store, as far as known.
  private var head: AuditPlace?
  /// The number of the last line that was handed to the node's log.
  private var shipped: Int64 = -1
  private var kept: [Line] = []
  private var chain: AuditChain
  private var isBusy = false
  /// The store has more than was read.
  private var isBehind = false
  private var notBefore: Int64 = 0
  /// When what others have written is read.
  private var readAt: Int64 = 0

  init(_ context: AgentContext, _ members: Membership) {
    self.context = context
    chain = AuditChain(keys: context.secrets.auditKeys)
    members.observers.append { [unowned self] reply in
      if let last = reply["audit"]?.number { noticed(last) }
    }
  }

  /// Adds an entry; it is written as soon as the store can be asked.
  public func record(_ entry: AuditEntry) {
    if waiting.count >= Self.mostWaiting {
      guard let place = waiting.firstIndex(where: \.actor.isEmpty) else {
        return context.remark(
          "audit: too much waits for the store: \(entry.action) of \(entry.actor) is not in the log")
      }
      waiting.remove(at: place)
    }
    waiting.append(entry)
  }

  /// The lines behind the one with number `sequence`, oldest first, ``page`` of them at most, with the number of the last
  /// line that there is; nil where the store does not answer.
  public func read(after sequence: Int64, then: @escaping (_ lines: [[UInt8]]?, _ last: Int64) -> Void) {
    let last = head?.sequence ?? 0
    fetch(after: sequence) { lines in then(lines, last) }
  }

  /// What verifies lines.
  public var keys: [[UInt8]] { context.secrets.auditKeyBytes }

  // MARK: As a part of the agent

  func connected() {
    head = nil
    isBehind = true
    notBefore = 0
  }

  func heard(_ kind: String, _ payload: [UInt8]) {
    guard kind == "audit", let last = Int64(String(decoding: payload, as: UTF8.self)) else { return }
    noticed(last)
  }

  func advance(_ moment: Int64) -> Int64 {
    guard !isBusy, context.store.isUp, head == nil || isBehind || !waiting.isEmpty else { return .max }
    guard notBefore <= moment else { return notBefore }
    if let head {
      if isBehind, waiting.isEmpty, readAt > moment { return readAt }
      if isBehind { readOn() } else { write(behind: head) }
    } else {
      findHead()
    }
    return .max
  }

  private func noticed(_ last: Int64) {
    if shipped >= 0, last > shipped, !isBehind {
      isBehind = true
      let delay = Self.readingDelay
      readAt = context.clock() + delay.lowerBound + Int64(context.world.random() % UInt64(delay.count))
    }
    // A failover lost some.
    if let known = head, last < known.sequence { head = nil }
  }

  private func failed() { notBefore = context.clock() + Self.pause }

  // MARK: The store

  private func findHead() {
    isBusy = true
    context.store.send([Array("HMGET".utf8), key("head"), Array("sequence".utf8), Array("digest".utf8)]) {
      [weak self] reply in
      guard let self else { return }
      isBusy = false
      guard reply.items.count == 2 else { return failed() }
      let found = AuditPlace(sequence: reply.items[0].number ?? 0, previous: reply.items[1].text ?? "")
      head = found
      if shipped < 0 { shipped = found.sequence }
      isBehind = shipped < found.sequence
      restore(behind: found)
    }
  }

  /// Puts lines back that the store has lost.
  private func restore(behind found: AuditPlace) {
    guard
      let next = kept.first(where: { $0.place.sequence == found.sequence + 1 && $0.place.previous == found.previous })
    else {
      // They are gone, and others may come in their places.
      shipped = min(shipped, found.sequence)
      return
    }
    append(next, behind: found) { [weak self] isTaken in
      // The head is read again, and with it the next line that is missing is found.
      if isTaken { self?.head = nil }
    }
  }

  private func write(behind last: AuditPlace) {
    guard let entry = waiting.first else { return }
    let place = AuditPlace(sequence: last.sequence + 1, previous: last.previous)
    let bytes = entry.line(
      at: place, time: context.world.wallTime, node: context.identity.name, secrets: context.secrets)
    let line = Line(place: place, bytes: bytes, digest: AuditLine.digest(of: bytes))
    append(line, behind: last) { [weak self] isTaken in if isTaken { self?.waiting.removeFirst() } }
  }

  private func append(_ line: Line, behind last: AuditPlace, then: @escaping (_ isTaken: Bool) -> Void) {
    isBusy = true
    let arguments = [
      Array(String(last.sequence).utf8), Array(last.previous.utf8), line.bytes, Array(line.digest.utf8),
    ]
    context.store.call("audit", arguments) { [weak self] reply in
      guard let self else { return }
      isBusy = false
      guard reply.items.count == 2, let sequence = reply.items[0].number, let digest = reply.items[1].text else {
        // It may have been written all the same: the head tells, and the line is not written twice, since its place is taken.
        head = nil
        then(false)
        return failed()
      }
      let isTaken = sequence == line.place.sequence && digest == line.digest
      head = AuditPlace(sequence: sequence, previous: digest)
      if shipped < sequence { (isBehind, readAt) = (true, 0) }
      then(isTaken)
    }
  }

  /// Hands lines that are new to the node's log.
  private func readOn() {
    isBusy = true
    fetch(after: shipped) { [weak self] lines in
      guard let self else { return }
      isBusy = false
      guard let lines else { return failed() }
      isBehind = lines.count == Self.page
      for bytes in lines {
        if let finding = chain.take(bytes) { context.remark("audit: \(finding.description)") }
        context.emit(.audit(String(decoding: bytes, as: UTF8.self)))
        guard let line = AuditLine(bytes) else { continue }
        shipped = max(shipped, line.place.sequence)
        kept.append(Line(place: line.place, bytes: bytes, digest: line.digest))
      }
      kept.removeFirst(max(0, kept.count - Self.mostKept))
    }
  }

  private func fetch(after sequence: Int64, then: @escaping ([[UInt8]]?) -> Void) {
    let command = ["XRANGE", "", "\(max(0, sequence) + 1)", "+", "COUNT", "\(Self.page)"].map { Array($0.utf8) }
    context.store.send([command[0], key("log")] + command[2...]) { reply in
      guard case .list(let entries) = reply else { return then(nil) }
      then(entries.compactMap { $0.items.count == 2 ? $0.items[1]["line"]?.bytes : nil })
    }
  }

  private func key(_ name: String) -> [UInt8] { Array("\(context.store.prefix):audit:\(name)".utf8) }
}
