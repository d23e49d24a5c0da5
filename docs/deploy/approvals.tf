# The table of approval-resource, its alarms, and a policy and role for each kind of user.
#
# A module: source = "git::https://…/approval-resource.git//docs/deploy?ref=v0.1.0". To copy it instead, take docs/iam along:
# the policies are those documents, with this table's ARN in the place of theirs.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

variable "table_name" {
  type    = string
  default = "concourse-approvals"
}

variable "alarm_topics" {
  description = "ARNs of the SNS topics that are told of alarms."
  type        = list(string)
  default     = []
}

variable "read_units_per_hour" {
  description = "So many read units in an hour are an alarm. A step that waits takes some 1,800 in an hour at the default wait_lock."
  type        = number
  default     = 100000
}

variable "watched" {
  description = "Whether watch.sh is run every five minutes: alarms on long waiting, and on an audit that fails or isn't run."
  type        = bool
  default     = true
}

variable "principals" {
  description = "ARNs of who may assume the role of pipeline, reviewer, operator, auditor and notifier; for service, ecs-tasks.amazonaws.com or pods.eks.amazonaws.com. One that is left out gets no role; attach its policy yourself."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.principals), ["pipeline", "reviewer", "operator", "auditor", "service", "notifier"])) == 0
    error_message = "The roles are pipeline, reviewer, operator, auditor, service and notifier."
  }
}

locals {
  documented_arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/concourse-approvals"
  roles          = toset(["pipeline", "reviewer", "operator", "auditor", "service", "notifier"])
  alarms = {
    reads-throttled       = { metric = "ReadThrottleEvents", period = 300, times = 2, threshold = 1 }
    writes-throttled      = { metric = "WriteThrottleEvents", period = 300, times = 2, threshold = 1 }
    system-errors         = { metric = "SystemErrors", period = 300, times = 2, threshold = 1 }
    transaction-conflicts = { metric = "TransactionConflict", period = 300, times = 3, threshold = 1000 }
    many-reads            = { metric = "ConsumedReadCapacityUnits", period = 3600, times = 1, threshold = var.read_units_per_hour }
  }
  watched = {
    waiting-too-long = { metric = "Waiting", period = 300, missing = "notBreaching" }
    audit-failed     = { metric = "AuditExitCode", period = 900, missing = "breaching" }
  }
}

resource "aws_dynamodb_table" "approvals" {
  name                        = var.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = true

  dynamic "attribute" {
    for_each = ["pk", "sk", "open_pool", "timestamp", "lock_event"]
    content {
      name = attribute.value
      type = "S"
    }
  }

  global_secondary_index {
    name            = "open"
    hash_key        = "open_pool"
    range_key       = "timestamp"
    projection_type = "KEYS_ONLY"
  }

  local_secondary_index {
    name            = "by_lock"
    range_key       = "lock_event"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_cloudwatch_metric_alarm" "watched" {
  for_each = var.watched ? local.watched : {}

  alarm_name          = "${var.table_name}-${each.key}"
  namespace           = "Approvals"
  metric_name         = each.value.metric
  dimensions          = { TableName = aws_dynamodb_table.approvals.name }
  statistic           = "Maximum"
  period              = each.value.period
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topics
}

resource "aws_cloudwatch_metric_alarm" "approvals" {
  for_each = local.alarms

  alarm_name          = "${var.table_name}-${each.key}"
  namespace           = "AWS/DynamoDB"
  metric_name         = each.value.metric
  dimensions          = { TableName = aws_dynamodb_table.approvals.name }
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = each.value.times
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topics
}

resource "aws_iam_policy" "approvals" {
  for_each = local.roles

  name   = "${var.table_name}-${each.key}"
  policy = replace(file("${path.module}/../iam/${each.key}.json"), local.documented_arn, aws_dynamodb_table.approvals.arn)
}

data "aws_iam_policy_document" "trust" {
  for_each = var.principals

  statement {
    actions = each.key == "service" ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]

    principals {
      type        = each.key == "service" ? "Service" : "AWS"
      identifiers = [each.value]
    }

    # A reviewer's session is named after its user: who assumes a role may otherwise choose the name that goes on record.
    dynamic "condition" {
      for_each = each.key == "reviewer" ? ["sts:RoleSessionName"] : []
      content {
        test     = "StringEquals"
        variable = condition.value
        values   = ["$${aws:username}"]
      }
    }
  }
}

resource "aws_iam_role" "approvals" {
  for_each = var.principals

  name               = "${var.table_name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy_attachment" "approvals" {
  for_each = var.principals

  role       = aws_iam_role.approvals[each.key].name
  policy_arn = aws_iam_policy.approvals[each.key].arn
}

output "table_arn" {
  value = aws_dynamodb_table.approvals.arn
}

output "policy_arns" {
  value = { for role, policy in aws_iam_policy.approvals : role => policy.arn }
}

output "role_arns" {
  value = { for name, role in aws_iam_role.approvals : name => role.arn }
}
