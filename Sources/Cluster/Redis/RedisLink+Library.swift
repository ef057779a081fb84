// The library is loaded when a connection comes up (a server that has it says so, and that is as cheap as asking), and
// again whenever a command finds it missing: after FUNCTION FLUSH, SCRIPT FLUSH or a restart behind a proxy. Commands that
// were refused for want of it have not run; they are kept and sent again behind the load, once.

import Core

extension RedisLink {
  /// Loads the library unless that is under way.
  func load() {
    guard outstandingLoads == 0, let library = settings.functionLibrary else { return }
    loadFailure = nil
    switch greeting.identity.dialect {
    case .functions:
      append(["FUNCTION", "LOAD", library.source], .functionLibrary)
      outstandingLoads = 1
    case .scripts:
      for script in library.scripts { append(["SCRIPT", "LOAD", script], .script) }
      outstandingLoads = library.scripts.count
    }
  }

  /// A load was answered.
  func loaded(_ step: PendingCommand.Step, _ value: RedisValue) {
    outstandingLoads -= 1
    // Another connection may have been faster.
    if let error = value.error, error != .alreadyExists { loadFailure = loadFailure ?? error }
    guard outstandingLoads == 0 else { return }
    if phase == .greeting { concludeGreeting(step) } else { concludeReload() }
  }

  private func concludeGreeting(_ step: PendingCommand.Step) {
    switch loadFailure {
    case .unknownCommand?, .notPermitted?:
      guard step == .functionLibrary, let library = settings.functionLibrary, !library.scripts.isEmpty else {
        fault = .refused(loadFailure ?? .other)
        return
      }
      greeting.identity.dialect = .scripts
      load()
    // The library may be there all the same: whoever calls it will see.
    case nil, .outOfMemory?, .noReplicas?, .misconfigured?: becomeUp()
    case let error?: fault = .refused(error)
    }
  }

  private func concludeReload() {
    guard let loadFailure else { return sendHeld() }
    giveUpHeld()
    switch loadFailure {
    // The user's rights have changed: a new connection finds out which dialect is left.
    case .unknownCommand, .notPermitted: drain(.refused(loadFailure))
    case .readOnly: drain(.notPrimary)
    default: break
    }
  }

  /// Puts a command that the library was missing for aside.
  func hold(_ command: PendingCommand) {
    heldBytes.append(request)
    held.append(command)
  }

  private func sendHeld() {
    let heldBytes = heldBytes
    for command in held {
      outgoing.append(heldBytes.bytes.extracting(first: command.byteCount))
      heldBytes.consume(command.byteCount)
      var again = command
      again.isReplay = true
      ring.append(again)
      nextExpiry = min(nextExpiry, again.deadline)
    }
    held = []
    heldBytes.removeAll()
  }

  /// Gives back what waits for the library: none of it has run.
  func giveUpHeld() {
    for command in held { notices.append(.lost(command.tag, mayHaveRun: false)) }
    held = []
    heldBytes.removeAll()
  }

  /// Gives back what has waited for the library for too long.
  func expireHeld(_ now: Instant) {
    guard held.contains(where: { $0.deadline <= now.nanoseconds }) else {
      for command in held { nextExpiry = min(nextExpiry, command.deadline) }
      return
    }
    let commands = held
    let heldBytes = heldBytes
    let bytes = ByteBuffer()
    bytes.append(heldBytes.bytes)
    held = []
    heldBytes.removeAll()
    for command in commands {
      if command.deadline <= now.nanoseconds {
        notices.append(.lost(command.tag, mayHaveRun: false))
      } else {
        nextExpiry = min(nextExpiry, command.deadline)
        heldBytes.append(bytes.bytes.extracting(first: command.byteCount))
        held.append(command)
      }
      bytes.consume(command.byteCount)
    }
  }
}
