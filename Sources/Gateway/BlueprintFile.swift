import Core
import Pipeline
import Traffic

/// The sections of a file, read or described, before they are compiled.
struct BlueprintFile {
  var own: NodeSections
  var shared: ClusterSections

  init(_ options: inout OptionReader) {
    _ = options.optionalString("$schema", Self.schemaHelp)
    own = NodeSections(&options)
    shared = ClusterSections(&options, limits: own.node.limits)
  }

  /// What the option `$schema` is for.
  static let schemaHelp = "The JSON Schema of this file, for editors; made by: sluice schema."
}

/// The sections of a file that are the cluster's: a revision, where there are revisions.
struct ClusterSections {
  /// Their names.
  static let names = ["upstreams", "tenants", "consumers", "policies", "routes"]

  var tenants = TenantDirectory()
  var upstreams: ContiguousArray<UpstreamSpec> = []
  /// Whose upstreams are, where they are somebody's.
  private var upstreamOwners: [Int32: String] = [:]
  var consumers = ConsumerDirectory()
  var policies = PolicyDirectory()
  var routes: [RouteDraft] = []
  private var usedUpstreams: Set<Int32> = []

  /// Those that a router makes of its own.
  init(upstreams: ContiguousArray<UpstreamSpec>, routes: [RouteDraft]) {
    (self.upstreams, self.routes) = (upstreams, routes)
    usedUpstreams = Set(upstreams.indices.map { Int32($0) })
  }

  /// Reads them for a node whose limits hold where a route has none of its own.
  init(_ options: inout OptionReader, limits: NodeLimits) {
    tenants = TenantDirectory(&options)
    readUpstreams(&options)
    consumers.read(&options, tenants)
    policies.read(&options, tenants)
    readRoutes(&options, limits)
  }

  private mutating func readUpstreams(_ options: inout OptionReader) {
    let read = options.map("upstreams", "Groups of endpoints that do the same work, by name.") { name, upstream in
      if OptionFormat.identifier(name) == nil, !upstream.isDescribing {
        upstream.session.fail(
          "\"\(name)\" is not \(OptionFormat.identifier.name)", at: upstream.place, fix: "rename it")
      }
      let owner = upstream.owner(tenants, "The tenant that it belongs to; left out, it is everybody's but tenants'.")
      let spec = UpstreamSpec(&upstream, name: name)
      if let owner { owner.check(spec.endpoints, &upstream) }
      return (spec, owner?.id)
    }
    upstreams = ContiguousArray(read.map(\.value.0))
    for (index, member) in read.enumerated() { upstreamOwners[Int32(index)] = member.value.1 }
  }

  private mutating func readRoutes(_ options: inout OptionReader, _ limits: NodeLimits) {
    let modern = upstreams.indices.filter { upstreams[$0].speaksHTTP2 }.map { Int32($0) }
    let names = upstreams.enumerated().map { ($1.name, Int32($0)) }
    var context = RouteContext(
      upstreams: Dictionary(names) { first, _ in first }, modernUpstreams: Set(modern), limits: limits,
      tenants: tenants, owners: upstreamOwners, policies: policies)
    routes = options.objects("routes", "Which request goes where.") { RouteDraft(&$0, &context) }
    usedUpstreams = context.usedUpstreams
    policies = context.policies
  }

  /// Compiles the routes' matches, and reports what the table finds.
  func buildTable(_ options: OptionReader) -> RouteTable? {
    let matchable = routes.filter(\.isMatchable)
    let (table, problems) = RouteTable.build(matchable.map(\.match))
    for problem in problems { report(problem, matchable, options) }
    if matchable.count == routes.count { return table }
    // A half read match would tie with what it does not mean, but its own patterns can be judged.
    for route in routes where !route.isMatchable {
      for problem in RouteTable.build([route.match]).problems { report(problem, [route], options) }
    }
    return nil
  }

  private func report(_ problem: RouteProblem, _ routes: [RouteDraft], _ options: OptionReader) {
    let route = routes[problem.route]
    // The table quotes its own way and counts what it was given; people read ids.
    var message = problem.message.replacing("`", with: "\"")
    for other in problem.otherRoutes { message = message.replacing("routes[\(other)]", with: routes[other].name) }
    var steps: [OptionStep] = [.key("routes"), .index(route.position), .key("match")]
    if !problem.member.isEmpty { steps.append(.key(problem.member)) }
    let place = options.place(at: steps)
    let fix = problem.fix.replacing("`", with: "\"")
    if problem.isWarning {
      options.session.warn(message, at: place, fix: fix)
    } else {
      options.session.fail(message, at: place, fix: fix)
    }
  }

  /// What is allowed, but probably an oversight.
  func warn(_ options: OptionReader) {
    let session = options.session
    // With errors about, what is used and what not cannot be told.
    guard session.errorCount == 0 else { return }
    if routes.isEmpty {
      session.warn("there are no routes: every request gets 404", at: options.place(of: "routes"), fix: "add routes")
    }
    tenants.warn(options, upstreams: upstreams.map(\.name), policies: policies.names)
    for (index, upstream) in upstreams.enumerated() where !usedUpstreams.contains(Int32(index)) {
      session.warn(
        "no route uses this upstream", at: options.place(at: [.key("upstreams"), .key(upstream.name)]),
        fix: "remove it, or name it in a route")
    }
    for name in policies.unused.sorted() {
      session.warn(
        "no route uses this policy", at: options.place(at: [.key("policies"), .key(name)]),
        fix: "remove it, or name it in a route")
    }
    for plan in consumers.plans where !policies.planNames.contains(plan.name) {
      session.warn(
        "no policy has a plan \"\(plan.name)\"",
        at: options.place(at: [.key("consumers"), .index(plan.position), .key("plan")]),
        fix: Suggestion.fix(
          plan.name, among: policies.planNames.sorted(), otherwise: "add it to a policy of the type \"plan\""))
    }
  }
}

extension RouteDraft {
  /// How messages about other routes call this one.
  var name: String { id.isEmpty ? "routes[\(position)]" : "\"\(id)\"" }
}

extension RouteProblem {
  /// Routes that the message names.
  var otherRoutes: [Int] {
    switch reason {
    case .tie(let other), .unreachable(let other): [other]
    default: []
    }
  }
}
