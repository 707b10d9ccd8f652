"""The Automation API on the loopback, in memory: strict about paths, parameters, required fields and read-only ones."""

from __future__ import annotations

import copy
import itertools
import json
import re

from strict_service import Refused, StrictService

# {collection: (methods on the collection, methods on one, required on create)}
COLLECTIONS = {
    "sites": ("GET POST", "GET PUT PATCH DELETE", "name url"),
    "goals": ("GET POST", "GET PUT PATCH DELETE", "name siteId type"),
    "segments": ("GET POST SEARCH", "GET PUT PATCH", "name siteId conditionsData"),
    "custom-datas": ("GET POST", "GET PUT PATCH DELETE", "name siteId method"),
    "experiments": ("GET POST", "GET PATCH DELETE", "name siteId baseURL"),
    "variations": ("GET POST SEARCH", "GET PUT PATCH DELETE", "name siteId"),
    "personalizations": ("GET POST", "GET PATCH", "name siteId"),
    "accounts": ("GET POST", "GET PATCH DELETE", "email firstName lastName"),
    "feature-flags": ("GET POST SEARCH", "", "featureKey name siteCode"),
}
SEGMENT_PATCH = {"audienceTracking", "description", "isDeleted", "isFavorite", "name", "tags"}
READ_ONLY = {"id", "dateCreated"}


class AutomationService(StrictService):
    """Attributes: `rows` is ``{collection: {id: entity}}``."""

    def __enter__(self):
        self.rows = {name: {} for name in COLLECTIONS}
        self.ids = itertools.count(100)
        self.waiting = 0
        self.known_rules = {}
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            self.routes[method, "*"] = self.any
        return super().__enter__()

    def add(self, collection, **fields):
        """Make an entity."""
        number = next(self.ids)
        self.rows[collection][number] = {"id": number, "dateCreated": "2026-01-31T08:00:00Z", **fields}
        return self.rows[collection][number]

    def any(self, seen):
        """Find the place."""
        if seen.token is None:
            raise Refused(401, {"message": "no token"})
        if seen.body:
            assert seen.headers["content-type"] == "application/json"
        body = json.loads(seen.body) if seen.body else None
        parts = seen.path.strip("/").split("/")
        if parts == ["results"] and seen.method == "GET":
            return self.results()
        if len(parts) == 3 and parts[2] == "results" and seen.method == "POST":
            assert body["conversionType"] in {"ALL_CONVERSION", "CONVERTED_VISITS"}
            return {"dataCode": f"{parts[0]}-{parts[1]}"}
        if parts == ["environments"] and set(seen.query) == {"siteCode"}:
            return [{"id": 1, "key": "production"}, {"id": 2, "key": "staging"}]
        if parts[0] not in COLLECTIONS:
            raise Refused(404, {"message": "no such path"})
        if parts[0] == "feature-flags" and len(parts) > 1 and parts[1:] != ["search"]:
            return self.flag(seen, parts[1:], body)
        rows, (on_all, on_one, required) = self.rows[parts[0]], COLLECTIONS[parts[0]]
        if parts[1:2] == ["byCode"] and parts[0] == "sites":
            return copy.deepcopy(
                next(iter([row for row in rows.values() if row["code"] == parts[2]]), None) or self.none()
            )
        if len(parts) == 1 and seen.method in on_all.split():
            return self.listed(seen, rows) if seen.method == "GET" else (201, self.created(parts[0], body, required))
        if parts[1:] == ["search"] and "SEARCH" in on_all.split() and seen.method == "POST":
            assert set(seen.query) <= {"optionalFields"}
            assert set(body) <= {"filter", "page", "perPage", "sort"}
            return self.page([row for row in rows.values() if holds(body["filter"], row)], body, body.get("sort", []))
        if len(parts) == 4 and parts[0] == "segments" and parts[2] == "conditions" and seen.method == "PUT":
            return {**rows[int(parts[1])], "replaced": body}
        if len(parts) == 2 and seen.method in on_one.split():
            return self.one(seen, parts[0], int(parts[1]), body, required)
        raise Refused(404, {"message": "no such path"})

    def none(self):
        raise Refused(404, {"message": "no such entity"})

    def one(self, seen, collection, number, body, required):
        rows = self.rows[collection]
        if number not in rows:
            self.none()
        if seen.method == "DELETE":
            del rows[number]
            return None
        if seen.method == "PATCH":
            if collection == "segments" and set(body) - SEGMENT_PATCH:
                raise Refused(
                    400, {"message": "validation failed", "errors": [{"field": "conditionsData", "message": "PUT it"}]}
                )
            action = seen.query.get("action")
            merge(rows[number], {"status": action + "D"} if action else body)
        if seen.method == "PUT":
            self.check(body, required)
            rows[number] = {"id": number, **body}
        return copy.deepcopy(rows[number])

    def check(self, body, required):
        errors = [{"field": name, "message": "required"} for name in required.split() if body.get(name) is None]
        errors += [{"field": name, "message": "read-only"} for name in READ_ONLY & set(body)]
        if errors:
            raise Refused(400, {"code": 400, "message": "validation failed", "errors": errors})

    def created(self, collection, body, required):
        self.check(body, required)
        if collection == "feature-flags":
            if any(row["featureKey"] == body["featureKey"] for row in self.rows[collection].values()):
                raise Refused(400, {"errors": [{"field": "featureKey", "message": "taken"}]})
            body = self.flagged(body)
        return copy.deepcopy(self.add(collection, **body))

    def listed(self, seen, rows):
        assert set(seen.query) <= {"page", "perPage", "filter", "sort", "optionalFields"}
        conditions = json.loads(seen.query.get("filter", "[]"))
        found = [row for row in rows.values() if all(holds(condition, row) for condition in conditions)]
        return self.page(
            found,
            {k: int(v) for k, v in seen.query.items() if k in {"page", "perPage"}},
            json.loads(seen.query.get("sort", "[]")),
        )

    def page(self, rows, query, sort):
        size, page = query.get("perPage", 20), query.get("page", 1)
        if size == -1:
            size = 200
        if not 1 <= size <= 200:
            raise Refused(400, {"message": "perPage"})
        for key in reversed(sort):
            rows = sorted(rows, key=lambda row, name=key["field"]: row[name], reverse=key["direction"] == "DESC")
        return copy.deepcopy(rows[(page - 1) * size : page * size])

    # --- flags ---

    def flag(self, seen, parts, body):
        if parts[0] == "rules":
            rule = body["environmentConfigurations"][0]["rolloutRules"][0]
            for flag in self.rows["feature-flags"].values():
                for environment in flag["environmentConfigurations"]:
                    for own in environment["rolloutRules"]:
                        if own["id"] == int(parts[1]) == rule["id"]:
                            own.update({name: value for name, value in rule.items() if name != "state"})
                            own["status"] = rule.get("state", own["status"])
                            return copy.deepcopy(flag)
            self.none()
        found = [
            flag
            for flag in self.rows["feature-flags"].values()
            if (flag["siteCode"], flag["featureKey"]) == (parts[0], parts[1])
        ]
        flag = found[0] if found else self.none()
        if seen.method == "GET" and len(parts) == 2:
            return copy.deepcopy(flag)
        if seen.method == "POST" and parts[2:] == ["duplicate"]:
            return 201, copy.deepcopy(self.add("feature-flags", **{**flag, "featureKey": flag["featureKey"] + "_copy"}))
        if seen.method == "DELETE" and len(parts) == 2:
            del self.rows["feature-flags"][flag["id"]]
            return None
        if seen.method != "PATCH":
            raise Refused(404, {"message": "no such path"})
        if body.get("featureKey") != flag["featureKey"]:
            raise Refused(400, {"errors": [{"field": "featureKey", "message": "required"}]})
        if len(parts) == 3:
            environment = next(one for one in flag["environmentConfigurations"] if one["environmentKey"] == parts[2])
            if not body.get("name") or "integrations" not in body:
                raise Refused(400, {"errors": [{"field": "name", "message": "required"}]})
            for name in ("defaultVariationKey", "featureEnabled", "rolloutRules", "integrations"):
                if name in body:
                    environment[name] = body[name]
            environment["rolloutRules"] = [self.ruled(rule) for rule in environment["rolloutRules"]]
        else:
            changes = dict(body)
            if "isArchived" in changes:
                flag["archived"] = changes.pop("isArchived")
            merge(flag, changes)
            flag.update(self.flagged(flag))
        return copy.deepcopy(flag)

    def flagged(self, body):
        body = {"archived": False, "variables": [], **copy.deepcopy(body)}
        body.setdefault(
            "variations", [{"key": "off", "name": "Off", "variables": []}, {"key": "on", "name": "On", "variables": []}]
        )
        given = {one["environmentKey"]: one for one in body.get("environmentConfigurations", [])}
        for key in ("production", "staging"):
            given.setdefault(
                key, {"environmentKey": key, "featureEnabled": False, "defaultVariationKey": "off", "rolloutRules": []}
            )
        for environment in given.values():
            environment["rolloutRules"] = [self.ruled(rule) for rule in environment.get("rolloutRules", [])]
            environment.setdefault("integrations", {"deliveryRules": [], "experimentRules": []})
        keys = [variation["key"] for variation in body["variations"]]
        for environment in given.values():
            used = [
                environment["defaultVariationKey"],
                *(rule.get("variationKey") for rule in environment["rolloutRules"]),
            ]
            used += [
                one["variationKey"]
                for rule in environment["rolloutRules"]
                for one in rule.get("trafficAllocations", [])
            ]
            if unknown := {key for key in used if key is not None} - set(keys):
                raise Refused(400, {"errors": [{"field": "variations", "message": f"no {unknown}"}]})
        body["environmentConfigurations"] = list(given.values())
        return body

    def ruled(self, rule):
        rule = {"exposition": 100, **copy.deepcopy(rule)}
        known = self.known_rules.get(rule.get("id"))
        if known is not None:
            rule.setdefault("experimentId", known["experimentId"])
            ids = {one["variationKey"]: one["variationId"] for one in known.get("trafficAllocations", [])}
            for allocation in rule.get("trafficAllocations", []):
                if allocation["variationKey"] in ids:
                    allocation["variationId"] = ids[allocation["variationKey"]]
        if "id" not in rule:
            rule |= {"id": next(self.ids), "experimentId": next(self.ids)}
        rule.setdefault("experimentId", next(self.ids))
        rule["status"] = rule.pop("state", rule.get("status", "ACTIVE"))
        for allocation in rule.get("trafficAllocations", []):
            allocation.setdefault("variationId", next(self.ids))
        self.known_rules[rule["id"]] = copy.deepcopy(rule)
        return rule

    def results(self):
        if self.waiting:
            self.waiting -= 1
            return {"status": "WAITING"}
        goal = {
            "conversionCount": 9,
            "convertedVisitCount": 8,
            "revenueCount": 360.0,
            "conversionRate": 0.0667,
            "new": 1,
        }
        general = {"visitCount": 120, "visitorCount": 100, "goalsData": {"501": goal, "502": goal}}
        rows = {"breakdownData": {"_reference": {"generalData": general}}}
        return {"status": "READY", "data": {"variationData": {"3001": rows, "3002": rows}}}


def merge(target, patch):
    """JSON merge patch."""
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict):
            merge(target[name], value)
        else:
            target[name] = value


def holds(expression, row):
    """Whether a filter expression holds."""
    if "conditionalOperator" in expression:
        combine = {"AND": all, "OR": any}[expression["conditionalOperator"]]
        return combine(holds(one, row) for one in expression["expressions"])
    assert set(expression) == {"field", "operator", "parameters"}
    value, parameters = row.get(expression["field"]), expression["parameters"]
    match expression["operator"]:
        case "EQUAL" | "IN":
            return value in parameters
        case "NOT_EQUAL":
            return value != parameters[0]
        case "GREATER":
            return value > parameters[0]
        case "BETWEEN":
            return parameters[0] <= value <= parameters[1]
        case "LIKE":
            return re.search(re.escape(parameters[0]).replace("%", ".*"), value, re.IGNORECASE) is not None
        case "IS_NULL":
            return value is None
        case other:
            raise Refused(400, {"message": f"operator {other}"})
