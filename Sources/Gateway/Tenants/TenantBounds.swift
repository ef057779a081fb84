import Core
import Pipeline
import Policies
import Traffic

/// A host that a tenant's routes may match: a name, or all names below one.
struct TenantHost: Equatable, Sendable {
  /// In lower case, without the star.
  private let name: String
  private let isWildcard: Bool

  /// Reads `api.acme.example` or `*.acme.example`; nil for anything else.
  init?(_ text: String) {
    var text = text.lowercased()
    isWildcard = text.hasPrefix("*.")
    if isWildcard { text.removeFirst(2) }
    guard case .name(let host, _) = AddressText("\(text):1") else {
      guard !isWildcard, case .socket(.ip) = AddressText("\(text):1") else { return nil }
      name = text
      return
    }
    name = host
  }

  /// Whether all hosts that a route of this host matches are among these. A port says less, not more.
  func covers(_ host: String) -> Bool {
    var host = host.lowercased()
    if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") { host = String(host[..<colon]) }
    if host.hasPrefix("*.") { return isWildcard && isBelow(String(host.dropFirst(2)), orSame: true) }
    return isWildcard ? isBelow(host, orSame: false) : host == name
  }

  /// Whether there is a host that both cover.
  func overlaps(_ other: TenantHost) -> Bool {
    covers((other.isWildcard ? "*." : "") + other.name) || other.covers((isWildcard ? "*." : "") + name)
  }

  private func isBelow(_ host: String, orSame: Bool) -> Bool { host.hasSuffix(".\(name)") || orSame && host == name }
}

/// A path that a tenant's routes may match, with all below it.
struct TenantPath: Equatable, Sendable {
  private let segments: [Substring]

  /// Reads `/acme`, or `/acme/`, which says the same; nil for what is no plain path.
  init?(_ text: String) {
    let isPlain = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"?#{}*%\\;".utf8.contains($0) }
    guard text.hasPrefix("/"), isPlain else { return nil }
    var parts = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    if parts.last == "" { parts.removeLast() }
    guard !parts.contains(where: { ["", ".", ".."].contains($0) }) else { return nil }
    segments = parts
  }

  /// Whether all paths that `match` takes lie here. What is written in another way than here (as percent triplets) is taken
  /// for something else.
  func covers(_ match: RouteMatch) -> Bool {
    var path = match.path ?? "/*"
    if case .path(let version) = match.version { path = "/\(version)\(path.hasPrefix("/") ? "" : "/")\(path)" }
    guard path.hasPrefix("/") else { return false }
    let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    return parts.starts(with: segments)
  }
}

extension TenantPath {
  /// Whether there is a path that both cover.
  func overlaps(_ other: TenantPath) -> Bool {
    segments.starts(with: other.segments) || other.segments.starts(with: segments)
  }
}

/// What a tenant's upstreams may be.
struct TenantEndpoint: Equatable, Sendable {
  private enum Place: Equatable, Sendable {
    case network(IPNetwork)
    case name(String)
    case unix(String)
  }

  private let place: Place
  /// Nil for any.
  private let port: UInt16?

  /// Reads `10.1.0.0/16`, `10.1.0.7`, `10.1.0.7:9000`, `orders.internal`, `orders.internal:80` or `unix:/run/a.sock`.
  init?(_ text: String) {
    if let network = IPNetwork(text) {
      (place, port) = (.network(network), nil)
      return
    }
    switch AddressText(text) ?? AddressText("\(text):65535") {
    case .socket(.ip(let ip, let port)) where port > 0: (place, self.port) = (.network(IPNetwork(ip)), port)
    case .socket(.unix(let path)): (place, port) = (.unix(path), nil)
    case .name(let host, let port):
      (place, self.port) = (.name(host), AddressText(text) == nil ? nil : port)
    default: return nil
    }
  }

  /// Whether an endpoint is one of these. A name is only covered by itself: nobody knows what it will resolve to.
  func covers(_ address: EndpointAddress) -> Bool {
    switch (place, address) {
    case (.network(let network), .socket(.ip(let ip, let port))):
      return network.contains(ip) && Self.isClear(ip, in: network) && (self.port ?? port) == port
    case (.name(let name), .name(let host, let port)): return name == host.lowercased() && (self.port ?? port) == port
    case (.unix(let path), .socket(.unix(let other))): return path == other
    default: return false
    }
  }

  /// The networks that are only meant where they are named: this machine, its links (where clouds answer with credentials),
  /// and what stands for no address.
  private static let named = [
    "127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10", "0.0.0.0/8", "::/128", "224.0.0.0/3", "ff00::/8",
    "fd00:ec2::/32",
  ].compactMap { IPNetwork($0) }

  /// Whether `ip` is no such address, or `network` lies wholly among those.
  private static func isClear(_ ip: IPAddress, in network: IPNetwork) -> Bool {
    named.allSatisfy { special in
      !special.contains(ip) || special.contains(network.base) && special.prefixLength <= network.prefixLength
    }
  }
}

extension TenantSpec {
  /// Why a route with this match cannot be the tenant's, as message, member of the match and fix; nil where it can.
  func objection(to match: RouteMatch) -> (message: String, member: String, fix: String)? {
    if !hosts.isEmpty, !(match.host.map { host in hosts.contains { $0.covers(host) } } ?? false) {
      let what = match.host.map { "the host \"\($0)\" is not" } ?? "not every host is"
      return ("\(what) among those of the tenant \"\(id)\"", "host", "match a host that its hosts allow")
    }
    if !paths.isEmpty, !paths.contains(where: { $0.covers(match) }) {
      let what = match.path.map { "the path \"\($0)\" does not lie" } ?? "not every path lies"
      return ("\(what) below those of the tenant \"\(id)\"", "path", "match a path that its paths allow")
    }
    return nil
  }

  /// Whether there are requests that routes of both may match.
  func overlaps(_ other: TenantSpec) -> Bool {
    let sharesHosts =
      hosts.isEmpty || other.hosts.isEmpty || hosts.contains { host in other.hosts.contains { host.overlaps($0) } }
    guard sharesHosts else { return false }
    return paths.isEmpty || other.paths.isEmpty
      || paths.contains { path in other.paths.contains { path.overlaps($0) } }
  }

  /// Whether an upstream of the tenant may have this endpoint.
  func allows(_ address: EndpointAddress) -> Bool { endpoints.contains { $0.covers(address) } }
}

extension OptionFormat {
  static let tenantHost = OptionFormat("a host, or *.NAME", example: "*.acme.example")
  static let tenantPath = OptionFormat("a path without wildcards", example: "/acme/")
  static let tenantEndpoint = OptionFormat("a network, an address, a name or unix:/path", example: "10.1.0.0/16")
}

// MARK: - Checks while a file is read

extension TenantSpec {
  /// Says what is wrong with the match of one of its routes.
  func check(_ match: RouteMatch, _ options: inout OptionReader) {
    guard let objection = objection(to: match), !options.hasFailed("match") else { return }
    options.session.fail(
      objection.message, at: options.place(at: [.key("match"), .key(objection.member)]), fix: objection.fix)
  }

  /// Says which endpoints of one of its upstreams lie elsewhere than they may.
  func check(_ endpoints: [EndpointSpec], _ options: inout OptionReader) {
    for (index, endpoint) in endpoints.enumerated() where !allows(endpoint.address) {
      options.fail(
        "upstreams of the tenant \"\(id)\" may not be here", at: "endpoints", element: index,
        fix: "use an endpoint that its endpoints allow, or a shared upstream")
    }
  }

  /// Names of policies inside of routes have slashes; counters are kept by name.
  func check(policyName name: String, _ options: OptionReader) {
    guard OptionFormat.identifier(name) == nil else { return }
    options.session.fail("\"\(name)\" is not \(OptionFormat.identifier.name)", at: options.place, fix: "rename it")
  }

  /// Says what its policies, or those of its routes, may not be.
  func check(_ policy: any Policy, _ options: inout OptionReader) {
    let types = [type(of: policy).name] + ((policy as? AnyOf)?.types ?? [])
    if let other = types.first(where: { !policies.contains($0) }) {
      options.fail(
        "policies of the tenant \"\(id)\" may not be of type \"\(other)\"", at: "type",
        fix: "remove it, or have it named among the tenant's policies")
    }
    if let headers = policy as? Headers, headers.speaksOfCallers {
      options.fail(
        "a tenant's policy does not say who calls", at: "request", fix: "leave such fields to the gateway")
    }
  }

  /// Why a route of `tenant` (nil: of nobody) cannot use a policy; nil where it can.
  static func objection(
    to use: PolicyUse, named name: String, from tenant: TenantSpec?
  ) -> (message: String, fix: String)? {
    objection(
      "policy", name, of: use.tenant, from: tenant, isShared: tenant?.sharedPolicies.contains(name) ?? true)
  }

  /// The same for anything with a name.
  static func objection(
    _ kind: String, _ name: String, of owner: String?, from tenant: TenantSpec?, isShared: Bool
  ) -> (message: String, fix: String)? {
    switch (owner, tenant) {
    case (nil, nil): return nil
    case (let owner?, let tenant?) where owner == tenant.id: return nil
    case (_?, _):
      let which = tenant == nil ? "a tenant, and the route to none" : "another tenant than the route"
      return ("the \(kind) \"\(name)\" belongs to \(which)", "use one that belongs to nobody, or to the same")
    case (nil, let tenant?):
      if isShared { return nil }
      let list = kind == "policy" ? "policies" : "upstreams"
      return (
        "routes of the tenant \"\(tenant.id)\" may not use the \(kind) \"\(name)\"",
        "add it to the tenant's shared.\(list), or use one of its own"
      )
    }
  }
}

extension RouteContext {
  /// Why the route that is being read cannot use an upstream; nil where it can.
  func objection(to upstream: Int32, named name: String) -> (message: String, fix: String)? {
    TenantSpec.objection(
      "upstream", name, of: owners[upstream], from: tenant,
      isShared: tenant?.sharedUpstreams.contains(name) ?? true)
  }
}
