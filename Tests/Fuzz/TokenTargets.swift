import Core
import Pipeline

/// What forms hold, and what token endpoints answer.
enum TokenTargets {
  /// A form: what is read of it is written again as the same, and no name is there twice unless it may be.
  @Sendable
  static func form(_ bytes: RawSpan) {
    do {
      let form = try FormFields(bytes)
      precondition(
        form.fields.count <= FormFields.mostFields && Set(form.fields.map(\.name)).count == form.fields.count)
      let body = FormText.body(form.fields)
      // Escapes may make it longer than what is read.
      guard body.count <= FormFields.longest else { return }
      // A field without a name or a value is passed over where nothing but its `=` is left out, and never here.
      precondition((try? FormFields(RawSpan(body))) == form)
    } catch {
      guard case .repeated(let name) = error else { return }
      guard let again = try? FormFields(bytes, repeatable: [name]) else { return }
      precondition(again.values(of: name).count > 1 && again[name] == again.values(of: name)[0])
    }
  }

  /// An answer of a token endpoint; the first byte chooses its status. A token is one word, and nothing of it is ever said.
  @Sendable
  static func response(_ bytes: RawSpan) {
    guard bytes.byteCount > 0 else { return }
    let statuses: [UInt16] = [200, 400, 401, 302, 503, 429]
    let status = statuses[Int(bytes[byte: 0]) % statuses.count]
    let body = bytes.extracting(1..<bytes.byteCount).array
    do {
      let answer = try TokenResponse(status: status, fields: [FetchField("retry-after", "5")], body: body)
      precondition(status == 200 && (1...TokenResponse.longestToken).contains(answer.accessToken.utf8.count))
      precondition(answer.accessToken.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
      precondition((0...TokenResponse.longestLifetime).contains(answer.lifetimeSeconds ?? 0))
    } catch {
      precondition(error.message.unicodeScalars.allSatisfy { $0.value >= 0x20 } && error.message.utf8.count < 512)
      if case .unavailable(_, let seconds) = error { precondition(status >= 429 && seconds == 5) }
    }
  }
}
