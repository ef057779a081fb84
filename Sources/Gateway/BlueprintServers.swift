import Policies

extension Blueprint {
  /// The authorization servers with which operators may register clients, one of each issuer, in the order of the routes.
  /// Looks at all routes.
  public var authorizationServers: [OAuthClientRules] {
    var found: [OAuthClientRules] = []
    for rules in routes.flatMap({ $0.chain.hooks(OAuth2Server.self) }).compactMap(\.registration) {
      // The endpoints of one server may stand on several routes, each with the server written out.
      if !found.contains(where: { $0.issuer == rules.issuer }) { found.append(rules) }
    }
    return found
  }
}
