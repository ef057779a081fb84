// What the admin API asks: to add facts, to wait until all nodes go by them, to list what is revoked.

import Core
import Crypto
import Pipeline

/// What became of an addition.
public enum FactAnswer: Equatable, Sendable {
  /// The log has it: everything up to this place.
  case added(FactPosition)
  /// There is no store to be had; nothing was added as far as this node knows. To add it again does no harm.
  case unavailable
}

/// Who goes by a fact.
public struct FactReceipt: Equatable, Sendable {
  /// Nodes whose loops have it.
  public var nodes: Int
  /// Live nodes.
  public var of: Int
  /// Names of live nodes that have not said so yet.
  public var missing: [String]
  /// From the question on.
  public var milliseconds: Int64
}

/// A page of what is revoked.
public struct RevocationPage: Sendable {
  /// In no particular order; one may come twice where the list changes meanwhile.
  public var records: [RevocationRecord]
  /// Where the next page begins; nil behind the last.
  public var cursor: String?
}

/// Somebody who waits until all nodes go by what was added.
struct FactWaiter {
  var position: FactPosition
  let deadline: Int64
  let began: Int64
  let then: (FactReceipt) -> Void
}

extension FactKeeper {
  /// Between two questions for positions while somebody waits for them.
  private static let positionPause: Int64 = 4_000_000
  /// The most that wait at the same time.
  static let waiterLimit = 64
  /// How long an addition is tried, in nanoseconds.
  private static let additionTime: Int64 = 3_000_000_000

  /// The key of all marks.
  public var markKey: SipKey { context.secrets.factKey }

  /// Adds facts to the log, all of them or, after a failure in the middle, none; at most ``batch`` at once. `then` is called
  /// exactly once. Every node has them a moment later; see ``wait(for:nanoseconds:then:)``.
  public func add(_ records: [FactRecord], then: @escaping (FactAnswer) -> Void) {
    precondition(records.count <= Self.batch)
    add(records.map(\.encoded), until: context.clock() + Self.additionTime, then)
  }

  private func add(_ records: [[UInt8]], until deadline: Int64, _ then: @escaping (FactAnswer) -> Void) {
    guard context.store.isUp, !unread.isFull, context.clock() < deadline else { return then(.unavailable) }
    // Without an epoch of its own the node learns the running one first.
    let epoch = isAligned ? position.epoch : highestEpoch
    context.store.call("fact-add", [Array("\(epoch)".utf8)] + records) { [self] reply in
      switch reply {
      case .list(let items):
        guard let place = FactPosition(added: items) else { return then(.unavailable) }
        // It holds here at once.
        unread.append(records, at: place)
        apply(records.compactMap { FactRecord($0) })
        then(.added(place))
      case .refused(let code, let reason):
        guard code == "EPOCH" else {
          context.remark("the store refuses facts: \(reason)")
          return then(.unavailable)
        }
        retry(records, until: deadline, then)
      case .failed(let mayHaveRun):
        // To add it twice is as good as once.
        if mayHaveRun { retry(records, until: deadline, then) } else { then(.unavailable) }
      default: then(.unavailable)
      }
    }
  }

  /// Looks at the log first: there is another epoch.
  private func retry(_ records: [[UInt8]], until deadline: Int64, _ then: @escaping (FactAnswer) -> Void) {
    context.store.call("fact-head", [String]()) { [self] reply in
      if let head = FactHead(reply.items), head.epoch > 0 { highestEpoch = max(highestEpoch, head.epoch) }
      if isAligned, position.epoch < highestEpoch { isAligned = false }
      if !isBusy { lookAt = 0 }
      add(records, until: deadline, then)
    }
  }

  // MARK: Receipts

  /// Waits until all live nodes go by everything up to a place, or so many nanoseconds have passed. `then` is called exactly
  /// once.
  public func wait(for position: FactPosition, nanoseconds: Int64, then: @escaping (FactReceipt) -> Void) {
    let began = context.clock()
    guard waiters.count < Self.waiterLimit else {
      return then(receipt([:], position, began: began))
    }
    waiters.append(FactWaiter(position: position, deadline: began + nanoseconds, began: began, then: then))
    members.refresh { [self] _ in positionsAt = 0 }
  }

  func askPositions() {
    positionsAt = .max
    guard !waiters.isEmpty else { return }
    context.store.call("fact-positions", [String]()) { [self] reply in
      let positions = Self.positions(reply.items)
      var waiting: [FactWaiter] = []
      for waiter in waiters {
        let receipt = receipt(positions, waiter.position, began: waiter.began)
        if receipt.missing.isEmpty { waiter.then(receipt) } else { waiting.append(waiter) }
      }
      waiters = waiting
      positionsOfAll = positions
      if !waiting.isEmpty { positionsAt = context.clock() + Self.positionPause }
    }
  }

  private static func positions(_ items: [AgentReply]) -> [String: FactPosition] {
    var positions: [String: FactPosition] = [:]
    for place in stride(from: 0, to: items.count - 1, by: 2) {
      let parts = (items[place + 1].text ?? "").split(separator: " ").compactMap { Int64($0) }
      guard let node = items[place].text, parts.count == 2 else { continue }
      positions[node] = FactPosition(epoch: parts[0], sequence: parts[1], chain: [])
    }
    return positions
  }

  private func receipt(_ positions: [String: FactPosition], _ wanted: FactPosition, began: Int64) -> FactReceipt {
    let alive = members.all.filter(\.isAlive).map(\.record.identity)
    let missing = alive.filter { positions[$0.id]?.covers(wanted) != true }
    return FactReceipt(
      nodes: alive.count - missing.count, of: alive.count, missing: missing.map(\.name),
      milliseconds: (context.clock() - began + 999_999) / 1_000_000)
  }

  func expireWaiters(_ moment: Int64) {
    guard waiters.contains(where: { $0.deadline <= moment }) else { return }
    for waiter in waiters where waiter.deadline <= moment {
      waiter.then(receipt(positionsOfAll, waiter.position, began: waiter.began))
    }
    waiters.removeAll { $0.deadline <= moment }
  }

  /// What was waited for is in another epoch now, at `sequence` at the latest.
  func moveWaiters(to sequence: Int64) {
    for index in waiters.indices where waiters[index].position.epoch != position.epoch {
      waiters[index].position = FactPosition(epoch: position.epoch, sequence: sequence, chain: [])
    }
  }

  /// What was waited for at this place is not there any more.
  func recallWaiters(of place: FactPosition) {
    for index in waiters.indices
    where waiters[index].position.epoch == place.epoch && waiters[index].position.sequence == place.sequence {
      waiters[index].position = .none
    }
  }

  // MARK: Lists

  /// A page of what is revoked, some hundred, from `cursor` on ("0" for the first). `then` gets nil where the store does not
  /// answer.
  public func listRevocations(from cursor: String, then: @escaping (RevocationPage?) -> Void) {
    let key = Array("\(context.store.prefix):facts:r".utf8)
    let command = [Array("HSCAN".utf8), key, Array(cursor.utf8), Array("COUNT".utf8), Array("100".utf8)]
    context.store.send(command) { reply in
      guard reply.items.count == 2, let next = reply.items[0].text else { return then(nil) }
      let fields = reply.items[1].items
      var page = RevocationPage(records: [], cursor: next == "0" ? nil : next)
      for place in stride(from: 1, to: fields.count, by: 2) {
        if let bytes = fields[place].bytes, case .revocation(let record)? = FactRecord(bytes) {
          page.records.append(record)
        }
      }
      then(page)
    }
  }
}
