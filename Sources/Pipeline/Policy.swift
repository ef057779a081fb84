import HTTP

/// A policy: one rule of a route, made once from its options and then shared by all loops.
///
/// A policy keeps its options and nothing else: what belongs to a request lives in the ``Exchange``, what belongs to the
/// node is borrowed from ``Services``. Policies are final classes so that a chain of them costs no boxing.
public protocol Policy: ChainMember {
  /// The `type` by which a configuration names it.
  static var name: String { get }
  /// When it runs.
  static var phase: Phase { get }
  /// What it does, in one sentence.
  static var summary: String { get }

  /// Reads every option unconditionally, since the same call also describes them. It never throws: what is wrong is
  /// recorded in the reader, and the policy is then not used.
  init(_ options: inout OptionReader)

  /// Whether it reads the option `mode` itself; otherwise that only says whether it is in force or in shadow.
  static var readsMode: Bool { get }
  /// Whether its own option `mode` puts it in shadow.
  var isShadow: Bool { get }
}

extension Policy {
  /// Few have modes of their own.
  public static var readsMode: Bool { false }

  /// Nothing, unless it reads the option itself.
  public var isShadow: Bool { false }
}

/// What runs in a chain: it has at least one of the hooks.
public protocol ChainMember: AnyObject, Sendable {}

/// A policy that looks at the request before it is routed to an upstream.
public protocol RequestHook: ChainMember {
  /// Judges the request, and may change what is sent upstream or returned.
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict

  /// Whether it answers or refuses every CORS preflight, so that none is ever sent upstream.
  var answersPreflights: Bool { get }

  /// Goes on after a ``Verdict/wait`` that this policy answered: what it waited for is in the exchange by now.
  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict
}

/// A policy that says who calls, and owns what stands in a request about that: nobody else's word on it may reach the upstream,
/// also where another policy knows the caller first.
public protocol CallerPolicy: RequestHook {
  /// Takes credentials of its kind, unless they are to be passed on, and the fields by which the upstream learns what it says
  /// out of what is sent on. What it does later finds them all the same.
  func dropClaims(of request: RequestHead, _ exchange: inout Exchange)
}

extension RequestHook {
  /// Few do.
  public var answersPreflights: Bool { false }

  /// A policy that never waits is never resumed.
  public func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict { .next }
}

extension EndHook {
  /// Most that could have something to give back do.
  public var hasWorkAtEnd: Bool { true }
}

/// A policy that looks at an upstream's final response head before it is passed on.
public protocol ResponseHook: ChainMember {
  /// May drop fields of the response and add to ``Exchange/responseFields``.
  func onResponse(_ exchange: inout Exchange, _ response: ResponseHead, _ services: Services)
}

/// A policy that must give something back when an exchange is over.
public protocol EndHook: ChainMember {
  /// Whether it can ever have anything to give back; if not it is never called.
  var hasWorkAtEnd: Bool { get }

  /// Called exactly once for every exchange in which this policy's turn came, however the exchange ended.
  func onEnd(_ exchange: inout Exchange, _ services: Services)
}
