import Core
import HTTP
import Pipeline

/// The paths of a site that a login answers by itself.
struct LoginPaths: Sendable {
  /// Which one a request is for.
  enum Kind {
    case callback, logout, backChannel
  }

  let callback: String
  let logout: String
  let backChannel: String
  private let bytes: [(Kind, [UInt8])]

  init(_ options: inout OptionReader) {
    func path(_ key: String, _ standard: String, _ help: String) -> String {
      let path = options.string(key, default: standard, help)
      guard
        ReturnPath.checked(path) == nil || path.contains("?") || path.contains("#")
          || RequestHead.isReserved(Array(path.utf8)) || path == ReturnPath.home
      else { return path }
      options.fail("\"\(path)\" is no path that can be used for this", at: key, fix: "write it like \"\(standard)\"")
      return standard
    }
    callback = path(
      "callbackPath", "/oauth2/callback",
      "Where the provider sends browsers back to; routes must lead it to this policy.")
    logout = path(
      "logoutPath", "/oauth2/logout", "Where the site's own pages send browsers to log out, by POST or GET.")
    backChannel = path(
      "backChannelLogoutPath", "/oauth2/backchannel-logout", "Where the provider says by itself that a session is over."
    )
    bytes = [
      (.callback, Array(callback.utf8)), (.logout, Array(logout.utf8)), (.backChannel, Array(backChannel.utf8)),
    ]
    if Set([callback, logout, backChannel]).count < 3 {
      options.fail("two of these paths are the same", at: "callbackPath", fix: "give each a path of its own")
    }
  }

  /// Which one `path` is; nil for none.
  func kind(of path: RawSpan) -> Kind? {
    for (kind, text) in bytes where path.byteCount == text.count && path.equals(RawSpan(text)) { return kind }
    return nil
  }
}

/// Where a site is, as its visitors see it. Never what a request says of itself: whoever sends the request chooses that.
struct LoginSite: Sendable {
  /// `https://host[:port]`, without a path.
  let origin: String

  init(_ options: inout OptionReader, isInsecure: Bool) {
    let text = options.string(
      "publicURL", "The site as its visitors see it: \"https://app.example.com\". The provider knows it by this.")
    let trimmed = text.hasSuffix("/") ? String(text.dropLast()) : text
    origin = trimmed
    if options.isDescribing || options.hasFailed("publicURL") { return }
    let url = FetchURL(trimmed)
    if url == nil || url?.target != "/" || trimmed.hasSuffix("/") || trimmed.contains("?") {
      options.fail(
        "\"\(text)\" is no site", at: "publicURL",
        fix: "write https:// and a host, without a path; http:// for a loopback address with insecureCookies")
    } else if let url, !url.isSecure, !isInsecure {
      options.fail(
        "over plain HTTP browsers keep no secure cookies", at: "publicURL",
        fix: "write https://, or insecureCookies: true for a test on this machine")
    }
  }

  /// Whether a request comes from a page of the site itself, or was typed in, by what browsers say of it.
  func isOwn(_ request: RequestHead) -> Bool {
    if let site = Self.text("sec-fetch-site", request) {
      guard site == "same-origin" || site == "none" else { return false }
      // An image or a frame is no wish of whoever looks at it.
      guard request.method != .post else { return true }
      return Self.text("sec-fetch-mode", request) == "navigate" && Self.text("sec-fetch-dest", request) == "document"
    }
    if let index = request.firstIndex(of: .origin) {
      return String(decoding: request.value(of: index).array, as: UTF8.self) == origin
    }
    guard let index = request.firstIndex(of: .referer) else { return false }
    return String(decoding: request.value(of: index).array, as: UTF8.self).hasPrefix(origin + "/")
  }

  /// Whether a request is a browser's that wants to show a page: it can be sent to a login and comes back.
  static func isPage(_ request: RequestHead) -> Bool {
    guard request.method == .get || request.method == .head, text("x-requested-with", request) == nil else {
      return false
    }
    if let mode = text("sec-fetch-mode", request), mode != "navigate" { return false }
    if let dest = text("sec-fetch-dest", request), dest != "document" { return false }
    guard let index = request.firstIndex(of: .accept) else { return false }
    return String(decoding: request.value(of: index).array, as: UTF8.self).lowercased().contains("text/html")
  }

  private static func text(_ name: StaticString, _ request: RequestHead) -> String? {
    let bytes = Array("\(name)".utf8)
    guard let index = request.firstIndex(named: RawSpan(bytes)) else { return nil }
    return String(decoding: request.value(of: index).array, as: UTF8.self)
  }
}
