#!/bin/sh
# Publishes two numbers to CloudWatch: approvals that wait for longer than WAITING_MINUTES (60), and whether the audit found
# something (1), could not look (3) or is clean (0). Run it every few minutes with an auditor's role, that of the alarm's account
# allowed cloudwatch:PutMetricData; approvals.yaml and approvals.tf have the alarms, for the table of APPROVAL_TABLE.
set -u
publish() {
  aws cloudwatch put-metric-data --namespace Approvals --dimensions "TableName=${APPROVAL_TABLE:-concourse-approvals}" \
    --metric-name "$1" --value "$2"
}
minutes="${WAITING_MINUTES:-60}"
waiting="$(approvals list --format json | python3 -c '
import datetime, json, sys
late = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=float(sys.argv[1]))
print(sum(c["state"] == "pending" and datetime.datetime.fromisoformat(c["timestamp"]) < late for c in json.load(sys.stdin)))
' "$minutes")" || waiting=""
approvals audit verify >/dev/null 2>&1
audit=$?
[ -n "$waiting" ] && publish Waiting "$waiting"
publish AuditExitCode "$audit"
