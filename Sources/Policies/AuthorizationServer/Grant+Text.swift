import Core

// A grant as JSON, with short names since it travels in addresses. It is read only after it was found to be sealed by a
// node of the cluster, so that nothing here meets a stranger's text; one of another version is no grant.

extension Grant {
  private static let version: Int64 = 2

  /// The contents.
  var text: [UInt8] {
    let buffer = ByteBuffer(capacity: 512)
    var writer = JSONWriter(buffer)
    writer.beginObject()
    writer.member("v", Self.version)
    writer.member("c", client)
    writer.member("s", user.subject)
    if user.isConsumer { writer.member("k", user.isOwn ? 2 : 1) }
    if let tenant = user.tenant { writer.member("t", tenant) }
    if let origin = user.origin {
      writer.member("w", origin.issuer)
      writer.member("y", origin.subject)
    }
    if !login.isEmpty {
      writer.members("m", login.map { String($0, radix: 36) })
      writer.member("i", Int64(loginIssued))
    }
    if loginKey != 0 { writer.member("d", String(loginKey, radix: 36)) }
    writer.members("g", user.groups)
    writer.members("r", user.roles)
    writer.member("l", user.loggedIn)
    writer.members("p", scopes)
    writer.member("a", audience)
    writer.member("f", family.name)
    writer.member("b", family.started)
    writer.member("e", family.ends)
    writer.member("n", generation)
    writer.member("x", expires)
    for (name, value) in [("u", redirectURI), ("h", challenge), ("o", nonce), ("q", state)] {
      guard let value else { continue }
      writer.key(name)
      writer.string(value)
    }
    writer.endObject()
    return buffer.array
  }

  /// Reads ``text``; nil for anything else.
  init?(_ root: JSONValue) {
    self.init()
    guard root["v"]?.integer == Self.version, let client = root["c"]?.string, let subject = root["s"]?.string,
      let audience = root["a"]?.string, let name = root["f"]?.string, let started = root["b"]?.integer,
      let ends = root["e"]?.integer, let generation = root["n"]?.integer, let expires = root["x"]?.integer,
      let loggedIn = root["l"]?.integer
    else { return nil }
    func list(_ key: String) -> [String] { root[key]?.elements.compactMap(\.string) ?? [] }
    self.client = client
    user = GrantUser(
      subject: subject, isConsumer: root["k"] != nil, isOwn: root["k"]?.integer == 2, tenant: root["t"]?.string,
      groups: list("g"), roles: list("r"), loggedIn: loggedIn)
    if let issuer = root["w"]?.string, let name = root["y"]?.string {
      user.origin = GrantUser.Origin(issuer: issuer, subject: name)
    }
    login = list("m").compactMap { UInt64($0, radix: 36) }
    loginIssued = UInt32(clamping: root["i"]?.integer ?? 0)
    loginKey = root["d"]?.string.flatMap { UInt64($0, radix: 36) } ?? 0
    scopes = list("p")
    self.audience = audience
    family = GrantFamily(name: name, started: started, ends: ends)
    (self.generation, self.expires) = (generation, expires)
    (redirectURI, challenge) = (root["u"]?.string, root["h"]?.string)
    (nonce, state) = (root["o"]?.string, root["q"]?.string)
  }
}

extension JSONWriter {
  /// A member with a string.
  mutating func member(_ name: StaticString, _ value: String) {
    key(name)
    string(value)
  }

  /// A member with a whole number.
  mutating func member(_ name: StaticString, _ value: Int64) {
    key(name)
    integer(value)
  }

  /// A member with an array of strings; none where it is empty.
  mutating func members(_ name: StaticString, _ values: [String]) {
    if values.isEmpty { return }
    key(name)
    beginArray()
    for value in values { string(value) }
    endArray()
  }
}
