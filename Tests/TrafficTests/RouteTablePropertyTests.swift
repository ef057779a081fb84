import Core
import Testing

@testable import Traffic

/// The table against a matcher that is too simple to be wrong: it tries every route and keeps the most specific.
@Suite("RouteTable and its definition")
struct RouteTablePropertyTests {
  private struct Oracle {
    var matches: [RouteMatch]

    /// How specific a path pattern is for comparison from left to right, nil where it does not match.
    private func path(_ pattern: String, _ path: String) -> [Int]? {
      var parts = pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
      let isPrefix = parts.last == "*"
      if isPrefix { parts.removeLast() }
      let segments = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
      guard isPrefix ? segments.count >= parts.count : segments.count == parts.count else { return nil }
      var rank: [Int] = []
      for (part, segment) in zip(parts, segments) {
        if part.hasPrefix("{") {
          if segment.isEmpty { return nil }
          rank.append(1)
        } else if part == segment {
          rank.append(2)
        } else {
          return nil
        }
      }
      return rank + [isPrefix ? 0 : 3]
    }

    private func host(_ pattern: String?, _ host: String) -> Int? {
      guard let pattern else { return 0 }
      if pattern.hasPrefix("*") { return host.hasSuffix(pattern.dropFirst()) ? pattern.count : nil }
      return pattern == host ? 1000 : nil
    }

    func decide(_ method: String, _ host: String, _ path: String, _ header: String?) -> (route: Int, isRefused: Bool) {
      var best = -1
      var bestRank: [Int] = []
      var isRefused = false
      for (index, match) in matches.enumerated() {
        guard let hostRank = self.host(match.host, host), let pathRank = self.path(match.path ?? "/*", path),
          match.headers.allSatisfy({ $0.value == header })
        else { continue }
        guard match.methods.isEmpty || match.methods.contains(method) else {
          isRefused = true
          continue
        }
        let rank =
          [hostRank] + pathRank + [match.methods.isEmpty ? -99 : -match.methods.count, match.headers.count]
        if best < 0 || bestRank.lexicographicallyPrecedes(rank) {
          best = index
          bestRank = rank
        }
      }
      return (best, isRefused && best < 0)
    }
  }

  private func randomMatch(_ generator: inout SeededGenerator) -> RouteMatch {
    let hosts: [String?] = [nil, "a.x", "b.x", "*.x", "*.a.x"]
    let segments = ["a", "b", "longer-segment", "{c}", "a"]
    var path = ""
    for place in 0..<Int.random(in: 0...3, using: &generator) {
      let segment = segments.randomElement(using: &generator) ?? "a"
      path += "/" + (segment == "{c}" ? "{c\(place)}" : segment)
    }
    if Bool.random(using: &generator) || path.isEmpty { path += "/*" }
    let methods = [[], ["PUT"], ["POST"], ["PUT", "POST"]].randomElement(using: &generator) ?? []
    let headers = [[], [], ["1"], ["2"]].randomElement(using: &generator) ?? []
    return RouteMatch(
      host: hosts.randomElement(using: &generator) ?? nil, path: path, methods: methods,
      headers: headers.map { NamedValue(name: "v", value: $0) })
  }

  @Test("Both agree on random routes and requests", arguments: UInt64(0)..<40)
  func agree(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    var matches: [RouteMatch] = []
    // Ties are left out one by one: what remains is a table.
    for _ in 0..<60 {
      let match = randomMatch(&generator)
      if RouteTable.build(matches + [match]).table != nil { matches.append(match) }
    }
    let table = try #require(RouteTable.build(matches).table)
    let oracle = Oracle(matches: matches)
    for _ in 0..<400 {
      let method = ["PUT", "POST", "DELETE"].randomElement(using: &generator) ?? "PUT"
      let host = ["a.x", "b.x", "c.x", "b.a.x", "y"].randomElement(using: &generator) ?? "y"
      let header = ["1", "2", nil].randomElement(using: &generator) ?? nil
      var path = ""
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        path += "/" + (["a", "b", "longer-segment", "c", ""].randomElement(using: &generator) ?? "a")
      }
      let expected = oracle.decide(method, host, path, header)
      var captures = RouteCaptures()
      let request = RawRequest(method, host, path, fields: header.map { [("v", $0)] } ?? [])
      let decision = table.match(request: request, captures: &captures)
      switch decision {
      case .route(let index): #expect(Int(index) == expected.route, "\(method) \(host) \(path)")
      case .methodNotAllowed: #expect(expected == (-1, true), "\(method) \(host) \(path)")
      case .notFound: #expect(expected == (-1, false), "\(method) \(host) \(path)")
      }
    }
  }

  @Test("A path matches however its octets are encoded", arguments: UInt64(0)..<20)
  func encodings(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let table = try compiled(RouteMatch(path: "/orders/archive-of-everything/{id}/*"), RouteMatch(path: "/*"))
    for _ in 0..<50 {
      var path = ""
      for letter in "/orders/archive-of-everything/7/x".utf8 {
        let isEncoded = letter != UInt8(ascii: "/") && Int.random(in: 0..<4, using: &generator) == 0
        path +=
          isEncoded
          ? "%" + String(letter, radix: 16, uppercase: Bool.random(using: &generator)) : String(UnicodeScalar(letter))
      }
      #expect(table.route(path) == 0, "\(path)")
    }
  }

  @Test("Random bytes as host and path never trap", arguments: UInt64(0)..<20)
  func noise(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let table = try compiled(
      RouteMatch(host: "*.a:1", path: "/a/{b}/*"), RouteMatch(host: "a", path: "/a", methods: ["GET"]),
      RouteMatch(path: "/{a}", query: [NamedValue(name: "a", value: "b")]),
      RouteMatch(path: "/{a}/b", version: .mediaType(parameter: "v", value: "1")))
    let letters = Array("/a%.:*{}?&=+;,\"\\ []1Z2f")
    func word() -> String {
      String(
        (0..<Int.random(in: 0...24, using: &generator)).map { _ in letters.randomElement(using: &generator) ?? "/" })
    }
    for _ in 0..<500 {
      _ = table.route(word(), word(), "/" + word(), [("accept", word())])
    }
  }
}
