// A policy in shadow decides about every request as it would in force, and nothing comes of it: neither the client nor the
// upstream can tell. So a rule can be watched on live traffic before it refuses anybody.
//
// The policy itself knows nothing of this. It runs on the same exchange, its limits in a question of their own, and what it
// changed is taken back: fields of request and response, the query, the body's limit. Only who was identified stays, where
// nobody was before, since that is knowledge and refuses nobody.

import HTTP

/// What the policies of one exchange that run in shadow have decided.
public struct ShadowVerdicts: Equatable, Sendable, BitwiseCopyable {
  /// The most policies in shadow that one route's verdicts are kept of.
  public static let capacity = 32

  /// One bit for each policy that has decided.
  public private(set) var decided: UInt32 = 0
  /// One bit for each policy that would have refused.
  public private(set) var refused: UInt32 = 0

  /// No verdicts.
  @inlinable
  public init() {}

  /// Whether none has decided.
  @inlinable
  public var isEmpty: Bool { decided == 0 }

  /// Whether the policy with this number has decided.
  public func hasDecided(_ index: Int) -> Bool { decided >> UInt32(index) & 1 != 0 }

  /// Whether the policy with this number would have refused.
  public func hasRefused(_ index: Int) -> Bool { refused >> UInt32(index) & 1 != 0 }

  /// Notes what the policy with this number has decided.
  public mutating func note(_ index: Int, isRefusal: Bool) {
    decided |= 1 << UInt32(index)
    if isRefusal { refused |= 1 << UInt32(index) }
  }
}

/// What an exchange keeps for policies in shadow; made with the first one that runs.
final class ShadowRecord {
  /// The limits of each, by its number among the route's policies in shadow.
  var limits: [LimitQuestion] = []
  /// Why each would have refused.
  var codes: [StaticString] = []
  /// Who was known before each that waits.
  var callers: [Exchange.Caller?] = []

  func makeRoom(for index: Int) {
    while limits.count <= index {
      limits.append(LimitQuestion())
      codes.append("")
      callers.append(nil)
    }
  }

  func reset() {
    for index in limits.indices {
      limits[index].removeAll()
      callers[index] = nil
    }
  }
}

/// Runs a request hook in shadow.
final class ShadowHook: RequestHook, EndHook {
  let hook: any RequestHook
  private let index: Int

  /// Runs `hook` as the route's policy in shadow with this number.
  init(_ hook: any RequestHook, index: Int) {
    self.hook = hook
    self.index = index
  }

  /// Always, so that whoever ends the exchange looks at its verdicts.
  var hasWorkAtEnd: Bool { true }

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    judge(&exchange, request) { hook.onRequest(&$0, request, services) }
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    judge(&exchange, request) { hook.onResume(&$0, request, services) }
  }

  func onEnd(_ exchange: inout Exchange, _ services: Services) {
    guard let hook = hook as? any EndHook, hook.hasWorkAtEnd else { return }
    let record = exchange.shadowRecord
    record.makeRoom(for: index)
    swap(&exchange.limits, &record.limits[index])
    hook.onEnd(&exchange, services)
    swap(&exchange.limits, &record.limits[index])
  }

  private func judge(
    _ exchange: inout Exchange, _ request: RequestHead, _ decide: (inout Exchange) -> Verdict
  ) -> Verdict {
    let record = exchange.shadowRecord
    record.makeRoom(for: index)
    let kept = (0..<request.fieldCount).filter { !request.field($0).isDropped }
    let before = exchange.beginShadow()
    swap(&exchange.limits, &record.limits[index])
    exchange.isShadow = true
    let verdict = decide(&exchange)
    exchange.isShadow = false
    swap(&exchange.limits, &record.limits[index])
    exchange.endShadow(before)
    for field in kept { request.keep(field) }
    // Whom it has identified and refused is known to nobody else.
    let caller = record.callers[index] ?? before.caller
    record.callers[index] = nil
    switch verdict {
    case .wait:
      record.callers[index] = caller
      return .wait
    case .gather:
      // What is too long to be looked at is refused by policies in force only.
      if case .length(let count) = request.framing, count <= Int64(exchange.gatherLimit) {
        record.callers[index] = caller
        return .gather
      }
      exchange.shadows.note(index, isRefusal: false)
    case .refuse(let refusal):
      exchange.take(back: caller)
      record.codes[index] = refusal.code
      exchange.shadows.note(index, isRefusal: true)
    case .reply:
      exchange.take(back: caller)
      exchange.shadows.note(index, isRefusal: false)
    case .next: exchange.shadows.note(index, isRefusal: false)
    }
    return .next
  }
}
