import Core

/// What a server's first answers say.
struct RedisGreeting {
  var identity = RedisIdentity()
  var fault: RedisFault?
  private var knowsRole = false

  mutating func note(_ step: PendingCommand.Step, _ value: RedisValue) {
    switch step {
    case .authenticate, .select: if let error = value.error { fault = fault ?? .refused(error) }
    case .role:
      if value.kind == .array, value.count > 0 { noteRole(value[0].text) } else { noteRefusal(value) }
    case .server, .replication, .persistence:
      if value.kind == .bytes { noteInfo(value.text) } else { noteRefusal(value) }
    default: break
    }
  }

  /// A user may lack the right to ask, and the server is of use all the same; other refusals say that it is not.
  private mutating func noteRefusal(_ value: RedisValue) {
    switch value.error {
    case .notPermitted?, .unknownCommand?: break
    case .loading?: fault = fault ?? .loading
    case .primaryDown?: fault = fault ?? .notPrimary
    case let error?: fault = fault ?? .refused(error)
    case nil: fault = fault ?? .malformed
    }
  }

  private mutating func noteRole(_ role: String) {
    // `master`, or `slave` with its source.
    if role == "master" || role == "slave" {
      identity.isPrimary = role == "master"
      knowsRole = true
    }
  }

  private mutating func noteInfo(_ text: String) {
    for line in text.split(whereSeparator: \.isNewline) {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = String(line[line.index(after: colon)...])
      switch line[..<colon] {
      case "redis_version":
        let numbers = value.split(separator: ".").prefix(2).map { Int($0) ?? 0 }
        identity.version = (numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
      case "redis_mode": identity.isCluster = value == "cluster"
      case "role": if !knowsRole { noteRole(value) }
      case "master_replid": identity.replicationID = value
      case "loading": if value == "1" { fault = fault ?? .loading }
      default: break
      }
    }
  }
}

extension RedisLink {
  /// Writes the first commands, all at once: a round trip more would be one more in every failover. `HELLO` is not among
  /// them, since the reader knows RESP 2 only.
  func greet() {
    phase = .greeting
    phaseDeadline = world.now.advanced(byNanoseconds: settings.limits.greeting)
    greeting = RedisGreeting()
    if let credentials = server.credentials {
      append(["AUTH"] + [credentials.user, credentials.password].compactMap { $0 }, .authenticate)
    }
    if server.database != 0 { append(["SELECT", "\(server.database)"], .select) }
    append(["CLIENT", "SETNAME", settings.clientName], .name)
    append(["ROLE"], .role)
    // Several sections at once are for servers from 7.0.
    append(["INFO", "server"], .server)
    append(["INFO", "replication"], .replication)
    append(["INFO", "persistence"], .persistence)
  }

  /// The first answers are complete.
  func greeted() {
    if let fault = greeting.fault {
      self.fault = fault
      return
    }
    guard greeting.identity.isPrimary || !settings.needsPrimary else {
      fault = .notPrimary
      return
    }
    let hasFunctions = greeting.identity.version.major >= 7
    greeting.identity.dialect =
      hasFunctions || settings.functionLibrary?.scripts.isEmpty != false ? .functions : .scripts
    if !settings.channels.isEmpty {
      unconfirmed = settings.channels.count
      append(["SUBSCRIBE"] + settings.channels, .subscribe)
      return
    }
    if settings.functionLibrary != nil, greeting.identity.isPrimary { load() } else { becomeUp() }
  }

  func becomeUp() {
    phase = .up
    phaseDeadline = .never
    attempts = 0
    greeting.identity.epoch = identity.epoch + 1
    identity = greeting.identity
    notices.append(.up(identity))
  }
}
