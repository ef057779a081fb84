import Core

/// What users see of the authorization server: a question, or why there is no answer. Plain HTML without scripts,
/// styles or anything that is loaded.
enum ServerPage {
  /// Asks a user whether a client may have what it wants. `form` proves that this page has asked, and whom.
  static func consent(_ grant: Grant, clientName: String, form: String, path: String) -> OAuthAnswer {
    let (client, user) = (escaped(clientName), escaped(grant.user.subject))
    var text = "<p><strong>\(client)</strong> asks for access to <strong>\(escaped(grant.audience))</strong> "
    text += "in the name of <strong>\(user)</strong>.</p>\n"
    if !grant.scopes.isEmpty {
      text += "<ul>\n" + grant.scopes.map { "<li>\(escaped($0))</li>\n" }.joined() + "</ul>\n"
    }
    text += """
      <form method="post" action="\(escaped(path))">
      <input type="hidden" name="consent" value="\(escaped(form))">
      <button name="decision" value="allow">Allow</button>
      <button name="decision" value="deny">Deny</button>
      </form>

      """
    let source = RedirectTarget.formSource(of: grant.redirectURI ?? "")
    return page("Grant access?", text, status: 200, formAction: "'self' \(source)")
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
