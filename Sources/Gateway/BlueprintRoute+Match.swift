import Core
import HTTP
import Pipeline
import Traffic

extension RouteMatch {
  init(_ options: inout OptionReader) {
    let host = options.optionalString("host", "api.example.com or *.example.com; left out, every host.")
    let path = options.optionalString(
      "path", "/a exactly, /a/* that path and everything below, /a/{id} with a segment captured; left out, every path.")
    if let path, RequestHead.isReserved(Array(path.utf8)) {
      options.fail(
        "paths below /.sluice are the gateway's own", at: "path",
        fix: "choose another path; no upstream ever gets these")
    }
    let methods = options.stringList(
      "methods", "Methods as in the request line; left out, all. GET takes HEAD along.")
    for (index, method) in methods.enumerated() where Self.registeredMethods.contains(method.uppercased()) {
      let name = method.uppercased()
      if name != method {
        options.fail("methods are written in capitals", at: "methods", element: index, fix: "write \"\(name)\"")
      }
    }
    let headers = options.stringMap("headers", "Header fields and the value that each must have.")
    let query = options.stringMap("query", "Query parameters and the value that each must have.")
    let version: RouteVersion? = options.object(
      "version", shorthand: "value", "The version of the API that it serves, where the path does not say."
    ) { RouteVersion.read(&$0) }
    self.init(
      host: host, path: path, methods: methods, headers: headers.map { NamedValue(name: $0.name, value: $0.value) },
      query: query.map { NamedValue(name: $0.name, value: $0.value) }, version: version)
  }

  /// Methods that nobody means in lower case; HTTP itself distinguishes the two (RFC 9110 section 9.1).
  private static let registeredMethods: Set<String> = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
  ]

  /// The names that the path captures.
  var captureNames: [String] {
    (path ?? "").split(separator: "/").compactMap { segment in
      segment.hasPrefix("{") && segment.hasSuffix("}") ? String(segment.dropFirst().dropLast()) : nil
    }
  }
}

extension RouteVersion {
  fileprivate static func read(_ options: inout OptionReader) -> RouteVersion? {
    let value = options.string("value", "The version, as \"2\".")
    let by = options.value(
      "by", .versionPlace, default: "header:Accept-Version", placeholder: Place?.none,
      "Where a request names it: path (its first segment), header:NAME, or media-type:PARAMETER (of Accept)."
    ) { Place($0) }
    if options.isDescribing || options.hasFailed("value") { return nil }
    if value.isEmpty {
      options.fail("the version is empty", at: "value", fix: "name one, or remove \"version\"")
      return nil
    }
    switch by {
    case .path: return .path(value)
    case .header(let name): return .header(name: name, value: value)
    case .mediaType(let parameter): return .mediaType(parameter: parameter, value: value)
    case nil: return nil
    }
  }

  private enum Place {
    case path
    case header(String)
    case mediaType(String)

    init?(_ text: String) {
      let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      switch (parts[0], parts.count) {
      case ("path", 1): self = .path
      case ("header", 2) where OptionFormat.isToken(parts[1]): self = .header(String(parts[1]))
      case ("media-type", 2) where OptionFormat.isToken(parts[1]): self = .mediaType(String(parts[1]))
      default: return nil
      }
    }
  }
}

extension Rewrite {
  init(_ captures: [String], _ options: inout OptionReader) {
    let strip = options.prefix("stripPrefix", "Taken off the front of the path, where it is there.")
    let add = options.prefix("addPrefix", "Put in front of the path.")
    let path = options.template(
      "path", .path, captures, "Replaces the path; {name} stands for a captured segment, {*} for what the star took.")
    if path != nil, strip != nil || add != nil {
      options.fail("path replaces everything that a prefix could change", at: "path", fix: "keep one of them")
    }
    let host = options.optionalString(
      "host", "The Host that the upstream sees: a name, or \"endpoint\" for the endpoint's own. Left out, the client's."
    )
    let query: ([QuerySetting], [String]) =
      options.object("query", "Query parameters to set and to remove.") { query in
        let set: [QuerySetting?] = query.stringMap("set", "Names and values; values may contain {name}.").map { pair in
          do throws(PathTemplate.Problem) {
            let value = try PathTemplate(pair.value, kind: .queryValue, captureNames: captures)
            return QuerySetting(name: pair.name, value: value)
          } catch {
            let place = query.place(at: [.key("set"), .key(pair.name)])
            query.session.fail(error.message, at: place, fix: error.fix(captures))
            return nil
          }
        }
        return (set.compactMap(\.self), query.stringList("remove", "Names."))
      } ?? ([], [])
    let change: Host = host.map { $0 == "endpoint" ? .endpoint : .set($0) } ?? .keep
    if case .set(let name) = change, AddressText("\(name):1") == nil, AddressText(name) == nil {
      options.fail("\"\(name)\" is no host", at: "host", fix: "write a name, a name with a port, or \"endpoint\"")
    }
    self.init(
      stripPrefix: strip, addPrefix: add, path: path, host: change, setQuery: query.0, removeQuery: query.1)
  }
}

extension Redirect {
  init?(_ captures: [String], _ options: inout OptionReader) {
    let status = options.integer("status", in: 300...399, default: 308, "301, 302, 303, 307 or 308.")
    let location = options.template(
      "location", .location, captures, isRequired: true,
      "Where to: a path or a URL; {scheme}, {host}, {path}, {query}, {*} and {name} are filled in from the request.")
    if !Self.statuses.contains(UInt16(status)) {
      options.fail("\(status) is no redirect", at: "status", fix: "write 301, 302, 303, 307 or 308")
    }
    guard let location else { return nil }
    self.init(status: UInt16(status), location: location)
  }
}

extension OptionReader {
  /// A path that others begin with.
  fileprivate mutating func prefix(_ key: String, _ help: String) -> String? {
    optionalValue(key, .pathPrefix, help) { text in
      let isPath = text.hasPrefix("/") && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"?#{}*".utf8.contains($0) }
      return isPath ? text : nil
    }
  }

  /// A text with holes.
  fileprivate mutating func template(
    _ key: String, _ kind: PathTemplate.Kind, _ captures: [String], isRequired: Bool = false, _ help: String
  ) -> PathTemplate? {
    guard let text = isRequired ? string(key, help) : optionalString(key, help), !isDescribing, !hasFailed(key)
    else { return nil }
    do throws(PathTemplate.Problem) {
      return try PathTemplate(text, kind: kind, captureNames: captures)
    } catch {
      fail(error.message, at: key, fix: error.fix(captures))
      return nil
    }
  }
}

extension PathTemplate.Problem {
  fileprivate var message: String {
    switch self {
    case .brace: "a brace has no counterpart"
    case .unknownHole(let name): "nothing is called {\(name)} here"
    case .byte: "a blank or another character stands in it that no address can have"
    case .start: "it begins neither with a slash nor, where that is allowed, with http:// or https://"
    }
  }

  fileprivate func fix(_ captures: [String]) -> String {
    switch self {
    case .brace: "write {name}, with both braces"
    case .unknownHole(let name):
      Suggestion.fix(
        name, among: captures, otherwise: "capture it in match.path, as in /a/{\(name.isEmpty ? "id" : name)}")
    case .byte: "write it as a percent triplet, a blank as %20"
    case .start: "write it like \"/new/path\""
    }
  }
}

extension OptionFormat {
  fileprivate static let pathPrefix = OptionFormat(
    "a path that others begin with", example: "/v1", pattern: "^/[^?#{}* ]*$")
  fileprivate static let versionPlace = OptionFormat(
    "path, header:NAME or media-type:PARAMETER", example: "header:Accept-Version",
    pattern: "^(path|(header|media-type):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")
}
