// What a node fetches by itself, between the control loop and those who want it: see Issuers/ControlFetches.swift.

import Core
import Net
import Pipeline

extension ControlFlow {
  /// Fetches what is due, and hands out what there is; returns when there is more.
  mutating func keepUpFetches() -> Instant {
    let (node, control, resolver) = (node, node.control, node.resolver)
    let next = fetches.advance(
      ControlFetches.Surroundings(report: node.sources.report) { host, attempt in
        resolver.resolve(host) { control.send(.fetch(.resolved(attempt, $0.found))) }
      } tell: { loop, news in
        if let loop { node.tell(loop, .fetched(news)) } else { node.tell { .fetched(news) } }
      })
    showStaples()
    if fetches.issuers.takeChange() {
      var shown: Set<String> = []
      // One name may stand for several, with other authorities each.
      node.shared.issuers = fetches.issuers.entries.map(\.facts).filter { shown.insert($0.issuer).inserted }
    }
    return min(next, keepUpOrders())
  }

  /// Tries again, once a second, to have revoked what the store could not take.
  private mutating func keepUpOrders() -> Instant {
    guard node.shared.hasOrders else { return .never }
    if ordersAt == .never { ordersAt = world.now.advanced(byNanoseconds: 1_000_000_000) }
    guard ordersAt <= world.now else { return ordersAt }
    ordersAt = .never
    let now = UInt32(clamping: world.wallTime.seconds)
    for order in node.shared.takeOrders() where order.expires > now { node.revoke(order, agent) }
    return .never
  }
}

extension Node {
  /// What a loop's policies have fetched by the control loop, and checked by the thread for passwords.
  func makeFetches(_ index: Int, _ world: any World) -> LoopFetches {
    let (control, passwords, report) = (control, passwords, sources.report)
    let desk = FetchDesk(world: world) { control.send(.fetch(.begin($0, loop: index))) }
    desk.report = { report($0) }
    return LoopFetches(
      desk: desk,
      issuers: IssuerBook(world: world) { control.send(.fetch(.ask($0))) },
      passwords: PasswordDesk(world: world) { [self] order in
        passwords.submit(order.hash, order.password, of: order.address) { [self] isRight in
          tell(index, .password(order.number, isRight: isRight))
        }
      },
      records: RecordDesk(world: world) { control.send(.record($0, loop: index)) })
  }
}
