// What authorities say of certificates, on its way to those who show them: see StapleKeeper.swift.

import Core
import Crypto

extension ControlFlow {
  /// Has the loops show what is new of what authorities say.
  mutating func showStaples() {
    if fetches.staples.takeNews() {
      adopt(blueprint)
      if hasStarted { publish() }
    }
    if fetches.staples.changes != upkeep.notedStaples { noteCertificates() }
  }

  /// `fresh` with what authorities have said of its certificates, about which they are asked from now on.
  mutating func stapled(_ fresh: Blueprint) -> Blueprint {
    fetches.staples.adopt(fresh.listeners.flatMap { $0.tls?.inquiries ?? [] })
    noteCertificates(fresh)
    var listeners = fresh.listeners
    var isNew = false
    for index in listeners.indices {
      guard let tls = listeners[index].tls?.stapling({ fetches.staples.staple(for: $0) }) else { continue }
      listeners[index].tls = tls
      isNew = true
    }
    return isNew
      ? Blueprint(fresh, own: fresh.own.replacing(listeners: listeners), upstreams: fresh.upstreams) : fresh
  }

  /// Lets the admin port know how certificates stand.
  private mutating func noteCertificates(_ fresh: Blueprint? = nil) {
    upkeep.notedStaples = fetches.staples.changes
    var known: Set<String> = []
    node.shared.certificates = (fresh ?? blueprint).listeners.flatMap { $0.tls?.certificates ?? [] }.compactMap {
      name, credential in
      guard known.insert(name).inserted else { return nil }
      var facts = CertificateFacts(certificate: name, expiresAt: credential.expiresAt)
      if let entry = fetches.staples.entries.first(where: { $0.credential.isSame(as: credential) }) {
        facts.staple = CertificateFacts.Staple(
          endsAt: entry.staple?.endsAt, isThere: entry.staple != nil, fault: entry.fault)
      }
      return facts
    }
  }
}
