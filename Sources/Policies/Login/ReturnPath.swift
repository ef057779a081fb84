import Core
import HTTP

/// Where a browser goes after a login: back to where it came from, and nowhere else.
///
/// Browsers take `//host` and `/\host` for other sites, and some drop control characters before they look. So a path is
/// made of visible ASCII, begins with one slash and has no backslash; and it is sent behind the site's own origin, so that
/// even one that came through would lead nowhere else.
enum ReturnPath {
  /// The most bytes; of a longer one the query is left out.
  static let longest = 2_048
  /// Where everything else leads.
  static let home = "/"

  /// The path and query of a request.
  static func of(_ request: RequestHead) -> String {
    let path = String(decoding: request.bytes(request.path).array, as: UTF8.self)
    if request.query.isEmpty { return checked(path) ?? home }
    let query = String(decoding: request.bytes(request.query).array, as: UTF8.self)
    return checked("\(path)?\(query)") ?? checked(path) ?? home
  }

  /// The text where it is a path of this site, with its query; nil for anything else.
  static func checked(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    guard (1...longest).contains(bytes.count), bytes[0] == UInt8(ascii: "/"),
      bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") })
    else { return nil }
    return bytes.count > 1 && bytes[1] == UInt8(ascii: "/") ? nil : text
  }
}
