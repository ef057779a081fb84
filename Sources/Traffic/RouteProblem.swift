/// What is wrong with a route, for `sluice check`: which route, which part of its match, and a way out.
public struct RouteProblem: Hashable, Sendable {
  /// The route that should change, by its index.
  public let route: Int
  /// What is wrong with it.
  public let reason: Reason

  /// The kinds of problems.
  public enum Reason: Hashable, Sendable {
    /// Not a host name, a literal address, or `*.` and a host name.
    case host(String)
    /// The port is not a number from 1 to 65535.
    case hostPort(String)
    /// Too many labels behind the star.
    case hostLabels(String)
    /// A path that does not begin with a slash.
    case pathStart(String)
    /// More segments than ``RouteTable`` descends.
    case pathSegments(String)
    /// `*` anywhere but as the last segment, or a brace inside a segment.
    case partialSegment(String)
    /// A percent sign that begins no triplet.
    case percent(String)
    /// A byte that no path can have: a query, a fragment, a blank, a control byte.
    case pathByte(String)
    /// `.` or `..`, which never reach the table.
    case dotSegment(String)
    /// A capture whose name is empty or not made of letters, digits, `_` and `-`.
    case captureName(String)
    /// A capture name used twice in a path.
    case captureTwice(String)
    /// More captures than ``RouteCaptures/limit``.
    case captureCount(String)
    /// A version that is not one path segment.
    case versionSegment(String)
    /// Not a method name, or longer than 16 bytes.
    case method(String)
    /// More method names in the table than a set can hold.
    case methodCount
    /// A header or parameter without a name, or with bytes that no field has.
    case conditionName(String)
    /// The same header is asked to have two values.
    case contradiction(header: String)
    /// Another route, by its index, takes the same requests and neither is more specific.
    case tie(with: Int)
    /// More specific routes, of which this is one, take all that this one could.
    case unreachable(because: Int)
  }

  /// Whether the file can be used all the same.
  public var isWarning: Bool {
    switch reason {
    case .unreachable, .contradiction: true
    default: false
    }
  }

  /// The member of `match` that is at fault, for the place in the file.
  public var member: String {
    switch reason {
    case .host, .hostPort, .hostLabels: "host"
    case .pathStart, .pathSegments, .partialSegment, .percent, .pathByte, .dotSegment: "path"
    case .captureName, .captureTwice, .captureCount: "path"
    case .versionSegment: "version"
    case .method, .methodCount: "methods"
    case .contradiction: "headers"
    case .conditionName, .tie, .unreachable: ""
    }
  }

  /// What is wrong, without naming the route.
  public var message: String {
    switch reason {
    case .host(let text): "`\(text)` is not a host"
    case .hostPort(let text): "`\(text)` has no port from 1 to 65535 behind its colon"
    case .hostLabels(let text): "`\(text)` has more than \(RoutePattern.wildcardLabelLimit) labels behind its star"
    case .pathStart(let text): "the path `\(text)` does not begin with a slash"
    case .pathSegments(let text): "the path `\(text)` has more than \(RoutePattern.segmentLimit) segments"
    case .partialSegment(let text): "in `\(text)` a star or brace stands inside a segment"
    case .percent(let text): "in `\(text)` a percent sign is not followed by two hexadecimal digits"
    case .pathByte(let text): "`\(text)` has a byte that no path can have"
    case .dotSegment(let text): "`\(text)` has a dot segment, and requests with dot segments are refused"
    case .captureName(let name): "`{\(name)}` is not the name of a capture"
    case .captureTwice(let name): "`{\(name)}` stands twice in the path"
    case .captureCount(let text): "`\(text)` captures more than \(RouteCaptures.limit) segments"
    case .versionSegment(let text): "the version `\(text)` is not one path segment"
    case .method(let name): "`\(name)` is not a method"
    case .methodCount: "the routes name more than 63 methods"
    case .conditionName(let name): "`\(name)` is not a name"
    case .contradiction(let header): "the field `\(header)` cannot have two values at once"
    case .tie(let other): "takes the same requests as routes[\(other)], and neither is more specific"
    case .unreachable(let other):
      "can never match: more specific routes take all its requests, routes[\(other)] the last"
    }
  }

  /// What to do about it.
  public var fix: String {
    switch reason {
    case .host: "write `api.example.com` or `*.example.com`, with `:port` if the port matters"
    case .hostPort: "write a port, or leave the colon out"
    case .hostLabels: "shorten the pattern"
    case .pathStart: "begin it with `/`"
    case .pathSegments: "end it earlier, with `/*`"
    case .partialSegment: "let `*` be the last segment, and a capture a whole one: `/a/{id}/*`"
    case .percent: "write the byte as `%` and two digits, a percent sign as `%25`"
    case .pathByte: "match the query with `query`; write other bytes as percent triplets"
    case .dotSegment: "write the path that is meant"
    case .captureName: "use letters, digits, `_` and `-`"
    case .captureTwice: "give each capture its own name"
    case .captureCount: "capture less"
    case .versionSegment: "write it as `v2`, without slashes"
    case .method: "write a method as in the request line, in capitals as a rule"
    case .methodCount: "leave `methods` out where every method may pass"
    case .conditionName: "write the name as it stands in the request"
    case .contradiction: "keep one of them"
    case .tie: "make one of the two more specific, or remove it"
    case .unreachable: "remove it, or make it more specific"
    }
  }
}
