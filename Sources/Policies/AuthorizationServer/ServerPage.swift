import Core

/// What users see of the authorization server: a question, or why there is no answer. Plain HTML without scripts,
/// styles or anything that is loaded.
enum ServerPage {
  /// Asks a user whether a client may have what it wants. `form` proves that this page has asked, and whom.
  static func consent(_ grant: Grant, clientName: String, form: String, path: String) -> OAuthAnswer {
    let text = question(grant, clientName: clientName) + decision(form, path: path)
    let source = RedirectTarget.formSource(of: grant.redirectURI ?? "")
    return page("Grant access?", text, status: 200, formAction: "'self' \(source)")
  }

  /// Asks for the code that a device shows; `remark` says what was wrong with the one before.
  static func deviceCode(_ path: String, after remark: String? = nil, status: UInt16 = 200) -> OAuthAnswer {
    let text = """
      \(remark.map { "<p>\(escaped($0))</p>\n" } ?? "")<form method="get" action="\(escaped(path))">
      <label>The code that your device shows: <input name="user_code" autocomplete="off" autocapitalize="characters"
      spellcheck="false" maxlength="16" required></label>
      <button>Go on</button>
      </form>

      """
    return page("Connect a device", text, status: status, formAction: "'self'")
  }

  /// Asks a user whether a device may have what it wants. `form` proves that this page has asked, and whom.
  static func deviceConsent(
    _ grant: Grant, code: UserCode, clientName: String, form: String, path: String
  ) -> OAuthAnswer {
    let text = """
      <p>Is <strong>\(code.text)</strong> what your own device shows now? Whoever else has sent you here would get what you
      allow.</p>
      \(question(grant, clientName: clientName))\(decision(form, path: path))
      """
    return page("Connect a device?", text, status: 200, formAction: "'self'")
  }

  /// Says that the user has answered.
  static func deviceDone(isAllowed: Bool) -> OAuthAnswer {
    let text =
      isAllowed
      ? "<p>Your device goes on by itself. You can close this page.</p>\n" : "<p>Your device gets nothing.</p>\n"
    return page(isAllowed ? "Connected" : "Not connected", text, status: 200, formAction: "'none'")
  }

  private static func question(_ grant: Grant, clientName: String) -> String {
    // Whom an issuer vouches for is called by the name that the issuer has for them.
    let (client, user) = (escaped(clientName), escaped(grant.user.origin?.subject ?? grant.user.subject))
    var text = "<p><strong>\(client)</strong> asks for access to <strong>\(escaped(grant.audience))</strong> "
    text += "in the name of <strong>\(user)</strong>.</p>\n"
    if !grant.scopes.isEmpty {
      text += "<ul>\n" + grant.scopes.map { "<li>\(escaped($0))</li>\n" }.joined() + "</ul>\n"
    }
    return text
  }

  private static func decision(_ form: String, path: String) -> String {
    """
    <form method="post" action="\(escaped(path))">
    <input type="hidden" name="consent" value="\(escaped(form))">
    <button name="decision" value="allow">Allow</button>
    <button name="decision" value="deny">Deny</button>
    </form>

    """
  }

  /// Says what is wrong to a user who cannot be sent anywhere.
  static func fault(_ fault: OAuthFault, status: UInt16 = 400) -> OAuthAnswer {
    let text = "<p>\(escaped(fault.detail)) (\(fault.code)).</p>\n"
    return page("This does not work", text, status: status, formAction: "'none'")
  }

  private static func page(_ title: String, _ content: String, status: UInt16, formAction: String) -> OAuthAnswer {
    let text = """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
      <title>\(escaped(title))</title></head><body>
      <h1>\(escaped(title))</h1>
      \(content)</body></html>

      """
    let policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action \(formAction)"
    let fields = [
      "Content-Type: text/html; charset=utf-8", "Content-Security-Policy: \(policy)", "X-Frame-Options: DENY",
      "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store",
    ]
    return OAuthAnswer(
      status: status, fields: Array(fields.map { "\($0)\r\n" }.joined().utf8), body: Array(text.utf8))
  }

  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
