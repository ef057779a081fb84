import Core
import Pipeline
import Policies
import Traffic

/// One route, compiled: what happens to a request that ``Blueprint/table`` gave to it. Immutable; shared by all loops.
public final class RoutePlan: Sendable {
  /// The name in limits, logs and metrics.
  public let id: String
  /// The tenant that it belongs to, if any.
  public let tenant: String?
  /// Its policies.
  public let chain: PolicyChain
  /// What is done with a request that the policies let pass.
  public let action: RouteAction
  /// Upstreams for requests of which a rule holds, in the order in which they are tried, before all others.
  public let choices: [UpstreamChoice]
  /// The upstream that gets all requests; −1 where there is a choice, or nothing is forwarded.
  public let onlyUpstream: Int32
  /// How its target changes on the way.
  public let rewrite: Rewrite
  /// The largest request body in bytes; beyond, 413.
  public let bodyLimit: Int64
  /// How long it may take.
  public let timeouts: RouteTimeouts
  /// When it is tried again; nil for what its upstream says.
  public let retries: RetrySpec?
  /// Who gets copies of its requests.
  public let mirror: Mirror?

  init(_ draft: RouteDraft) {
    id = draft.id
    tenant = draft.tenant
    chain = draft.chain
    action = draft.action
    choices = draft.choices
    if case .forward(let split, _) = draft.action, split.upstreams.count == 1, choices.isEmpty {
      onlyUpstream = split.upstreams[0]
    } else {
      onlyUpstream = -1
    }
    rewrite = draft.rewrite
    bodyLimit = draft.bodyLimit
    timeouts = draft.timeouts
    retries = draft.retries
    mirror = draft.mirror
  }
}

/// What is done with a request.
public enum RouteAction: Sendable {
  /// It goes to one of these upstreams; with `sticky`, always to the same one for the same key.
  case forward(WeightedSplit, sticky: HashKey?)
  /// The client is sent elsewhere.
  case redirect(Redirect)
  /// Nothing: one of the policies has answered, or nobody does (404).
  case answer
}

/// An upstream for requests of which a rule holds.
public struct UpstreamChoice: Sendable {
  /// The rule.
  public let rule: AccessRule
  /// The upstream's index in the configuration.
  public let upstream: Int32
}

/// Time limits of a route, in nanoseconds.
public struct RouteTimeouts: Equatable, Sendable, BitwiseCopyable {
  /// From the end of the request to the head of the response; nil for what the upstream says.
  public var response: Int64?
  /// Without a byte in either direction once the response has begun; nil for what the upstream says.
  public var idle: Int64?
  /// From the first byte of the request to the last of the response; `Int64.max` for no such limit.
  public var total: Int64
}

/// A route as the file has it, before policies are made and the table is built.
struct RouteDraft {
  var id = ""
  var match = RouteMatch()
  /// Whether the match can go into the table: what is half read would tie with what it does not mean.
  var isMatchable = true
  /// Its position in the file's `routes`.
  var position = 0
  /// Whose it is, where it is somebody's.
  var tenant: String?
  var chain = PolicyChain()
  var action = RouteAction.answer
  var choices: [UpstreamChoice] = []
  var rewrite = Rewrite()
  var bodyLimit = Int64.max
  var timeouts = RouteTimeouts(response: nil, idle: nil, total: .max)
  var retries: RetrySpec?
  var mirror: Mirror?
}

/// What a route may refer to, and what of it has been referred to.
struct RouteContext {
  let upstreams: [String: Int32]
  /// Those that speak HTTP/2.
  let modernUpstreams: Set<Int32>
  let limits: NodeLimits
  let tenants: TenantDirectory
  /// Whose upstreams are, where they are somebody's.
  let owners: [Int32: String]
  /// Whose the route is that is being read.
  var tenant: TenantSpec?
  var usedUpstreams: Set<Int32> = []
  var ids: Set<String> = []
  var policies: PolicyDirectory
}

extension RouteDraft {
  init(_ options: inout OptionReader, _ context: inout RouteContext) {
    position = options.position
    id = options.identifier("The name in limits, logs and metrics.")
    if !id.isEmpty, !context.ids.insert(id).inserted { options.failTwice("route", id) }
    let errors = options.session.errorCount
    match =
      options.object("match", isRequired: true, "Which requests it takes; everything that is given must hold.") {
        RouteMatch(&$0)
      } ?? RouteMatch()
    isMatchable = errors == options.session.errorCount
    context.tenant = options.owner(context.tenants, "The tenant that it belongs to; callers of others are refused.")
    tenant = context.tenant?.id
    if let tenant = context.tenant { tenant.check(match, &options) }
    let policies = context.policies.uses(&options, route: id, context.tenant)
    chain = context.policies.chain(of: policies, context.tenant, &options)
    let captures = match.captureNames
    rewrite =
      options.object("rewrite", "How path, host and query change on the way to the upstream.") {
        Rewrite($0.isDescribing ? [] : captures, &$0)
      } ?? Rewrite()
    readAction(&options, captures, context.policies.answers(policies), &context)
    checkCalls(&options, context)
    mirror = options.object("mirror", "Sends copies of some requests elsewhere; nobody waits for the answers.") {
      mirror in
      let upstream = mirror.upstream("upstream", isRequired: true, "The upstream that gets the copies.", &context)
      let percent = mirror.number("percent", in: 0...100, default: 100, "How many of the requests.")
      return upstream.map { Mirror(upstream: $0, percent: percent) }
    }
    let total = context.limits.totalDeadline
    timeouts = options.section("timeouts", "Time limits that differ from those of the upstream and the node.") {
      RouteTimeouts(
        response: $0.optionalNanoseconds("response", "From the end of the request to the head of the response."),
        idle: $0.optionalNanoseconds("idle", "Without a byte in either direction once the response has begun."),
        total: $0.optionalNanoseconds("total", "From the first byte of the request to the last of the response.")
          ?? total)
    }
    let body = context.limits.bodyBytes
    bodyLimit = options.section("limits", "Limits that differ from those of the node.") {
      $0.optionalSize("body", "The largest request body; beyond, 413.") ?? body
    }
    retries = options.object(
      "retries", "When a request of this route is tried again, instead of what the upstream says."
    ) {
      RetrySpec(&$0)
    }
  }

  /// What translates to gRPC needs an upstream that can be called.
  private func checkCalls(_ options: inout OptionReader, _ context: RouteContext) {
    guard case .forward(let split, _) = action, !chain.requestPolicies(of: GRPCWeb.self).isEmpty else { return }
    for index in split.upstreams + choices.map(\.upstream) where !context.modernUpstreams.contains(index) {
      let name = context.upstreams.first { $0.value == index }?.key ?? ""
      options.fail(
        "grpc-web makes calls of gRPC, and the upstream \"\(name)\" does not speak HTTP/2", at: "upstream",
        fix: "add protocol: \"h2\" to it")
    }
  }

  private mutating func readAction(
    _ options: inout OptionReader, _ captures: [String], _ isAnswered: Bool, _ context: inout RouteContext
  ) {
    let redirect: Redirect? = options.object("redirect", shorthand: "location", "Sends the client elsewhere.") {
      Redirect($0.isDescribing ? [] : captures, &$0)
    }
    let sticky = options.optionalValue(
      "sticky", .requestKey, "With several upstreams: what of a request decides that it always goes to the same one."
    ) { HashKey(text: $0) }
    let split = WeightedSplit.read(&options, salt: id, &context, &choices)
    if options.isDescribing { return }
    switch (split, redirect) {
    case (let split?, nil): action = .forward(split, sticky: sticky)
    case (nil, let redirect?): action = .redirect(redirect)
    case (_?, _?):
      options.fail("a route has an upstream or a redirect, not both", at: "redirect", fix: "remove one of them")
    case (nil, nil):
      let isPartial = options.has("upstream") || options.has("redirect")
      if !isPartial, !isAnswered {
        options.fail(
          "nothing happens to the requests of this route", at: "upstream",
          fix: "add upstream, redirect, or a policy of type \"respond\"")
      }
    }
    if sticky != nil, !options.isArray("upstream") {
      options.fail("there is only one upstream to stick to", at: "sticky", fix: "remove it, or make upstream a list")
    }
  }
}

extension WeightedSplit {
  /// Reads the option `upstream` of a route: a name, or a list with weights.
  fileprivate static func read(
    _ options: inout OptionReader, salt: String, _ context: inout RouteContext, _ choices: inout [UpstreamChoice]
  ) -> WeightedSplit? {
    let errors = options.session.errorCount
    var shares: [Share] = []
    let _: [Int32] = options.objects(
      "upstream", shorthand: "upstream", allowsSingle: true,
      "Where the requests go: a name from upstreams, or [{ upstream: \"a\", weight: 95 }, { upstream: \"b\", weight: 5 }]."
    ) { share in
      let upstream = share.upstream("upstream", isRequired: true, "The upstream.", &context)
      let weight = share.integer("weight", in: 0...1_000_000, default: 1, "Its share, relative to the others.")
      let rule = share.rule(
        "when",
        "A rule as in the policy access: requests of which it holds go here, the first such upstream in order; all others are "
          + "shared by the upstreams without a rule.")
      if rule != nil, share.has("weight") {
        share.fail("an upstream with a rule has no share", at: "weight", fix: "remove it")
      }
      guard let upstream else { return nil }
      if let rule {
        choices.append(UpstreamChoice(rule: rule, upstream: upstream))
      } else if !share.has("when") {
        shares.append(Share(upstream: upstream, weight: UInt32(weight)))
      }
      return upstream
    }
    guard options.has("upstream"), errors == options.session.errorCount, !options.isDescribing else { return nil }
    if shares.isEmpty, !choices.isEmpty {
      options.fail(
        "no upstream is for requests of which no rule holds", at: "upstream", fix: "add one without \"when\"")
      return nil
    }
    if shares.count == 1 { return WeightedSplit(upstream: shares[0].upstream) }
    if let split = WeightedSplit(shares, salt: salt) { return split }
    options.fail("no upstream has a weight", at: "upstream", fix: "give at least one of them a weight above 0")
    return nil
  }
}

extension OptionReader {
  /// The name of an upstream, as its index.
  fileprivate mutating func upstream(
    _ key: String, isRequired: Bool, _ help: String, _ context: inout RouteContext
  ) -> Int32? {
    let name = string(key, help)
    if isDescribing || hasFailed(key) { return nil }
    guard let index = context.upstreams[name] else {
      let names = context.upstreams.keys.sorted()
      fail(
        "there is no upstream \"\(name)\"", at: key,
        fix: Suggestion.fix(name, among: names, otherwise: "add \"\(name)\" to upstreams"))
      return nil
    }
    context.usedUpstreams.insert(index)
    if let objection = context.objection(to: index, named: name) {
      fail(objection.message, at: key, fix: objection.fix)
      return nil
    }
    return index
  }
}
