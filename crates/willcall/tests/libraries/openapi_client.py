"""Uses a server by the client that openapi-python-client made of its document: JSON in, one line
out. What it has after each step is typed; a text that is no date, or a key that lacks, raises."""

import json
import sys
import time

given = json.load(sys.stdin)
sys.path.insert(0, given["folder"])

from willcall_client import AuthenticatedClient, Client
from willcall_client.api.administrators import list_tenants, make_portal_link, put_tenant
from willcall_client.api.companies import (
    company_set_pause,
    create_company_webhook,
    list_invocations,
    report_triggers,
    show_company_webhook,
)
from willcall_client.api.organizers import (
    create_webhook,
    list_deliveries,
    retry_delivery,
    show_delivery,
    show_webhook,
    take_notifications,
)
from willcall_client.api.server import livez
from willcall_client.models import (
    CompanyWebhookFields,
    NotificationFields,
    OrganizerError,
    PauseFields,
    PortalLinkFields,
    PortalLinkFieldsRole,
    TenantFields,
    TriggerFields,
    TriggerFieldsData,
    WebhookFields,
)

ORDER = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10"


def client(token, prefix="Bearer"):
    return AuthenticatedClient(base_url=given["url"], token=given[token], prefix=prefix)


def awaited(ask, is_done):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = ask()
        if is_done(found):
            return found
        time.sleep(0.02)
    raise SystemExit(f"it never came: {found}")


def organizer():
    tests = client("organizer_token", "Token")
    fields = WebhookFields(
        target_url=given["receiver"] + "/python",
        limit_events=[],
        action_types=["pretix.event.order.paid"],
    )
    webhook = create_webhook.sync("bigevents", client=tests, body=fields)
    assert show_webhook.sync("bigevents", webhook.id, client=tests) == webhook
    paid = NotificationFields(action="pretix.event.order.paid", event="democon")
    paid["code"] = "ABC12"
    receipt = take_notifications.sync("bigevents", client=tests, body=paid, x_idempotency_key="py")
    again = take_notifications.sync("bigevents", client=tests, body=paid, x_idempotency_key="py")
    assert receipt == again and receipt.deliveries >= 1, (receipt, again)
    several = [NotificationFields(action="x")]
    batch = take_notifications.sync("bigevents", client=tests, body=several)
    assert batch[0].status == 201 and "No webhook" in batch[0].warning, batch
    page = list_deliveries.sync("bigevents", webhook.id, client=tests)
    name = page.results[0].id
    delivery = awaited(
        lambda: show_delivery.sync("bigevents", name, client=tests),
        lambda found: found.status == "delivered",
    )
    assert [attempt.response_status for attempt in delivery.attempts] == [204]
    assert json.loads(delivery.request_body)["code"] == "ABC12"
    retry_delivery.sync("bigevents", name, client=tests)
    replayed = awaited(
        lambda: show_delivery.sync("bigevents", name, client=tests),
        lambda found: len(found.attempts) == 2 and found.status == "delivered",
    )
    assert replayed.attempts[1].datetime_ > delivery.attempts[0].datetime_
    wrong = create_webhook.sync_detailed(
        "bigevents",
        client=tests,
        body=WebhookFields(target_url="no", limit_events=[], action_types=[]),
    )
    assert wrong.status_code == 400 and isinstance(wrong.parsed, OrganizerError)
    return wrong.parsed["target_url"]


def company():
    tests = client("company_token")
    fields = CompanyWebhookFields(
        name="By Python", url=given["receiver"] + "/company", resource="order", trigger="paid"
    )
    webhook = create_company_webhook.sync(client=tests, body=fields)
    report = TriggerFields(
        resource="order", trigger="paid", guid=ORDER, data=TriggerFieldsData.from_dict({"a": 1})
    )
    receipt = report_triggers.sync(client=tests, body=report)
    assert receipt.invocations >= 1, receipt
    awaited(
        lambda: list_invocations.sync(webhook.guid, client=tests),
        lambda found: [one.status for one in found] == ["delivered"],
    )
    assert len(show_company_webhook.sync(webhook.guid, client=tests).invocations) == 1
    pause = company_set_pause.sync(webhook.guid, client=tests, body=PauseFields(paused=True))
    return [pause.paused, pause.by]


def administrator():
    shop = client("administrator_token")
    fields = TenantFields.from_dict({"name": "By Python", "token": [], "event": [{"slug": "con"}]})
    made = put_tenant.sync("pretix", "python", client=shop, body=fields)
    link = make_portal_link.sync(
        "pretix", "python", client=shop, body=PortalLinkFields(role=PortalLinkFieldsRole.LOOK)
    )
    assert link.path.startswith("/link/") and link.expires_at.tzinfo, link
    names = [tenant.key for tenant in list_tenants.sync(client=shop).results]
    assert "python" in names, names
    return [change.item for change in made.changes]


alive = livez.sync(client=Client(base_url=given["url"]))
print(json.dumps([alive, organizer(), company(), administrator()]))
