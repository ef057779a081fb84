import HTTP

/// The policies of one route, in the order in which they run. A class, so that running it costs one reference and not one
/// for each of its arrays.
public final class PolicyChain: Sendable {
  /// What the limits of this chain are called, by their index in ``Exchange/limits``; where callers have different ones, those
  /// of each kind of caller one after the other, from ``LimitQuestion/firstName`` on.
  public let limitNames: [String]
  /// What its policies in shadow are called, by their index in ``Exchange/shadows``.
  public let shadowNames: [String]
  /// Where the keys come from that its policies need, in their order.
  public let keySources: [KeySource]

  /// Those of its policies that are in force and of this kind.
  public func hooks<Hook>(_ kind: Hook.Type) -> [Hook] { requestHooks.compactMap { $0 as? Hook } }

  private let requestHooks: ContiguousArray<any RequestHook>
  private let requestSteps: ContiguousArray<RequestStep>
  private let responseHooks: ContiguousArray<any ResponseHook>
  private let endHooks: ContiguousArray<Ending>

  /// An end hook, and how many request hooks must have had their turn before it is owed a call.
  private struct Ending {
    let hook: any EndHook
    let requiredTurns: Int32
  }

  /// A chain of `policies` that are in run order already.
  public convenience init(_ policies: [any ChainMember] = [], limitNames: [String] = []) {
    self.init(policies, limitNames: limitNames, shadowNames: [])
  }

  /// A chain of `steps` that are in run order already. Of a policy in shadow only the request hook runs, and its end hook.
  public convenience init(_ steps: [ChainStep], limitNames: [String] = []) {
    var names: [String] = []
    var members: [any ChainMember] = []
    for step in steps {
      guard let name = step.shadowName else {
        members.append(step.policy)
        continue
      }
      guard let hook = step.policy as? any RequestHook, names.count < ShadowVerdicts.capacity else { continue }
      members.append(ShadowHook(hook, index: names.count))
      names.append(name)
    }
    self.init(members, limitNames: limitNames, shadowNames: names)
  }

  private init(_ policies: [any ChainMember], limitNames: [String], shadowNames: [String]) {
    self.limitNames = limitNames
    self.shadowNames = shadowNames
    keySources = policies.flatMap { ($0 as? any KeySourceUser)?.keySources ?? [] }
    requestHooks = ContiguousArray(policies.compactMap { $0 as? any RequestHook })
    requestSteps = ContiguousArray(requestHooks.map { RequestStep($0) })
    responseHooks = ContiguousArray(policies.compactMap { $0 as? any ResponseHook })
    var turns: Int32 = 0
    var endings: ContiguousArray<Ending> = []
    for policy in policies {
      if policy is any RequestHook { turns += 1 }
      if let hook = policy as? any EndHook, hook.hasWorkAtEnd {
        endings.append(Ending(hook: hook, requiredTurns: turns))
      }
    }
    endHooks = endings
  }

  /// Whether a policy answers CORS preflights by itself.
  public var answersPreflights: Bool { requestHooks.contains { $0.answersPreflights } }
  /// Its policies of one type that look at requests, in the order in which they run. Not for use with every request.
  public func requestPolicies<Kind: RequestHook>(of type: Kind.Type) -> [Kind] {
    requestHooks.compactMap { $0 as? Kind }
  }
  /// Whether any policy says who calls. Not for use with every request.
  public var identifiesCallers: Bool {
    requestHooks.contains { ($0 as? any Policy).map { type(of: $0).phase == .identify } ?? false }
  }
  /// Whether any policy looks at requests.
  public var hasRequestHooks: Bool { !requestHooks.isEmpty }
  /// Whether any policy looks at responses.
  public var hasResponseHooks: Bool { !responseHooks.isEmpty }
  /// Whether any policy has something to give back at the end.
  public var hasEndHooks: Bool { !endHooks.isEmpty }

  /// Runs the request hooks from the first one until one of them decides.
  @inline(__always)
  public func run(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    proceed(&exchange, request, services)
  }

  /// Goes on behind a ``Verdict/wait``: the hook that waited judges again, and the ones behind it follow. `request` must
  /// be the same head as before.
  public func resume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let index = Int(exchange.turnCount) - 1
    precondition(index >= 0, "only a chain that waits can be resumed")
    let verdict = requestHooks[index].onResume(&exchange, request, services)
    guard case .next = verdict else { return verdict }
    return proceed(&exchange, request, services)
  }

  private func proceed(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    while UInt32(bitPattern: exchange.turnCount) < UInt32(truncatingIfNeeded: requestSteps.count) {
      let step = requestSteps[Int(exchange.turnCount)]
      exchange.turnCount &+= 1
      let verdict = step.onRequest(&exchange, request, services)
      guard case .next = verdict else { return verdict }
    }
    return .next
  }

  /// Shows the upstream's final response head to the response hooks.
  @inline(__always)
  public func respond(_ exchange: inout Exchange, _ response: ResponseHead, _ services: Services) {
    for index in responseHooks.indices { responseHooks[index].onResponse(&exchange, response, services) }
  }

  /// Ends the exchange: calls each end hook whose policy had its turn. Calling it again does nothing.
  @inline(__always)
  public func end(_ exchange: inout Exchange, _ services: Services) {
    var index = Int(exchange.endedCount)
    while index < endHooks.count {
      let ending = endHooks[index]
      index &+= 1
      exchange.endedCount = Int32(truncatingIfNeeded: index)
      if ending.requiredTurns <= exchange.turnCount { ending.hook.onEnd(&exchange, services) }
    }
  }
}

/// A request hook that its chain keeps alive, so that calling it counts no references: that is atomic, and twice as much
/// as a small policy's own work.
@safe
private struct RequestStep: @unchecked Sendable {
  // `@unchecked`: the object is `Sendable`, as every policy is, and the pointer to it never changes.
  private let hook: UnsafeRawPointer
  private let type: any RequestHook.Type

  init(_ hook: any RequestHook) {
    unsafe self.hook = UnsafeRawPointer(Unmanaged<AnyObject>.passUnretained(hook).toOpaque())
    type = Swift.type(of: hook)
  }

  @inline(__always)
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    // The object is of this type and lives as long as the chain, which is being run.
    unsafe type.judge(hook, &exchange, request, services)
  }
}

extension RequestHook {
  /// Judges by the hook of this type at `address`.
  @inline(__always)
  fileprivate static func judge(
    _ address: UnsafeRawPointer, _ exchange: inout Exchange, _ request: RequestHead, _ services: Services
  ) -> Verdict {
    unsafe Unmanaged<Self>.fromOpaque(address)._withUnsafeGuaranteedRef {
      $0.onRequest(&exchange, request, services)
    }
  }
}

/// A policy of a route, and whether it is in force there.
public struct ChainStep: Sendable {
  /// The policy.
  public let policy: any Policy
  /// What it is called where it runs in shadow; nil where it is in force.
  public let shadowName: String?

  /// A policy, in force unless it has a name for its shadow.
  public init(_ policy: any Policy, shadowName: String? = nil) {
    self.policy = policy
    self.shadowName = shadowName
  }
}
