import Policies

extension Blueprint {
  /// The authorization servers with which operators may register clients, one of each issuer, in the order of the routes.
  /// Looks at all routes.
  public var authorizationServers: [OAuthClientRules] {
    var found: [OAuthClientRules] = []
    let servers = routes.flatMap { $0.chain.hooks(OAuth2Server.self) }
    // Revocations know clients by their names alone, whosever they are.
    let taken = Set(servers.flatMap(\.clientIDs))
    for var rules in servers.compactMap(\.registration) {
      rules.configured = taken
      // The endpoints of one server may stand on several routes, each with the server written out.
      if !found.contains(where: { $0.issuer == rules.issuer }) { found.append(rules) }
    }
    return found
  }
}
