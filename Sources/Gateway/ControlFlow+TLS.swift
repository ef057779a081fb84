// What changes about TLS while a node runs: the keys of session tickets, and the files that certificates stand in.

import Core
import Net
import Pipeline

/// What the control loop keeps in mind about TLS.
struct TLSUpkeep {
  /// How often files are read again to see whether they have changed, in nanoseconds.
  static let pace: Int64 = 10_000_000_000
  /// How often people are reminded of certificates that end, in nanoseconds.
  static let reminderPace: Int64 = 86_400_000_000_000

  var tickets = TicketSchedule()
  var ticketsChangeAt = Instant(nanoseconds: 0)
  var filesReadAt = Instant(nanoseconds: 0)
  /// Nil at the start: then whoever read the file has said it.
  var remindsAt: Instant?
  /// What was said of files that are of no use, so that it is said once.
  var complaint: [String] = []
  /// Up to which of their changes the admin port knows of fetched OCSP responses.
  var notedStaples: UInt64 = 0
}

extension ControlFlow {
  /// Does what is due; returns when there is more.
  mutating func keepUpTLS() -> Instant {
    let listens = blueprint.listeners.contains { $0.tls != nil }
    guard listens || blueprint.upstreams.contains(where: { $0.tls?.options.files.isEmpty == false }) else {
      return .never
    }
    let now = world.now
    if listens, upkeep.ticketsChangeAt <= now {
      upkeep.ticketsChangeAt = now.advanced(byNanoseconds: TicketSchedule.rest(at: world.wallTime))
      renewTickets()
    }
    if upkeep.filesReadAt <= now {
      upkeep.filesReadAt = now.advanced(byNanoseconds: TLSUpkeep.pace)
      if hasStarted { renewCertificates() }
    }
    let reminder = upkeep.remindsAt ?? now.advanced(byNanoseconds: TLSUpkeep.reminderPace)
    upkeep.remindsAt = reminder
    if reminder <= now {
      upkeep.remindsAt = now.advanced(byNanoseconds: TLSUpkeep.reminderPace)
      for remark in blueprint.certificateRemarks(at: world.wallTime) { node.sources.report(remark) }
    }
    return min(listens ? upkeep.ticketsChangeAt : .never, upkeep.filesReadAt, reminder)
  }

  /// Has tickets sealed with the keys that are the right ones now.
  mutating func renewTickets() {
    let cluster = blueprint.cluster
    let fresh = upkeep.tickets.advance(
      secret: cluster.secret, former: cluster.formerSecret, now: world.wallTime)
    if let fresh { node.shared.ticketKeys = fresh }
  }

  /// Takes over certificates whose files have changed. Connections go on under those that they began with.
  mutating func renewCertificates() {
    let readings = FileReadings(node.sources.content)
    var complaint: [String] = []
    var (isOwnNew, isNew) = (false, false)
    var (listeners, upstreams) = (blueprint.listeners, blueprint.upstreams)
    for index in listeners.indices {
      guard let (renewed, faults) = listeners[index].tls?.renewed(readings) else { continue }
      complaint += faults
      guard let renewed else { continue }
      listeners[index].tls = renewed
      isOwnNew = true
    }
    for index in upstreams.indices where readsFilesOfUpstreams {
      guard let (renewed, faults) = upstreams[index].tls?.renewed(readings) else { continue }
      complaint += faults
      guard let renewed else { continue }
      upstreams[index].tls = renewed
      isNew = true
    }
    if complaint != upkeep.complaint {
      upkeep.complaint = complaint
      for fault in complaint { node.sources.report("the certificates in use stay: \(fault)") }
    }
    guard isOwnNew || isNew else { return }
    let own = isOwnNew ? blueprint.own.replacing(listeners: listeners) : blueprint.own
    let fresh = Blueprint(blueprint, own: own, upstreams: upstreams)
    if isOwnNew { desk?.own = own }
    adopt(fresh)
    publish()
    upkeep.remindsAt = world.now
    node.sources.report("certificates have been read again")
  }

  /// Whether what upstreams are spoken to with stands in files of this machine. A revision of a cluster carries what the
  /// files of its author said, for all nodes alike.
  private var readsFilesOfUpstreams: Bool { desk?.keeper.running == nil }
}

extension Blueprint {
  /// What people should know of the certificates that are shown, at `now`.
  public func certificateRemarks(at now: WallTime) -> [String] {
    listeners.flatMap { $0.tls?.remarks(at: now) ?? [] } + upstreams.compactMap { $0.tls?.remark(at: now) }
  }
}
